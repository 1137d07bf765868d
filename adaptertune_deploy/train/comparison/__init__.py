"""Two candidates, the careful probe and the adapters: trained fold by fold, compared, measured."""
