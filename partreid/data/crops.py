"""Crops as a user has them, see :mod:`partreid.utils.crops`, which does without torch so that an
exported model can read them too.
"""

from partreid.utils.crops import AnyCrop, AnyCrops, Crop, crop_paths, crops_of

__all__ = ["AnyCrop", "AnyCrops", "Crop", "crop_paths", "crops_of"]
