"""Code that is right and slow, to be made faster."""
