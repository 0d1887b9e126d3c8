"""Many runs: the Hydra callback around them, and the processes or machines that do them."""
