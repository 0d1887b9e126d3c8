"""Changes to a program that does not learn, tried and proved: `zoo.repair`."""
