"""The words of the house: batches, estimators, moments, and the protocols that the parts meet by."""
