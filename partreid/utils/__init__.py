"""What any package needs: files, images, locks, checks of arguments, the terminal. Knows nothing
of re-ID.
"""
