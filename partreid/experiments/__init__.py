"""What is run to learn something about methods: the demo, the claims of papers, smoke tests of
rows.
"""
