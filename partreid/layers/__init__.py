"""The few modules that methods are made of: trunks, heads and pooling."""
