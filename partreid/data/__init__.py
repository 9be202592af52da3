"""Data: files to samples, samples to batches. The data sets are listed in
:mod:`partreid.data.registry`.

Nothing is imported here, so that the processes that draw synthetic people start without torch.
"""
