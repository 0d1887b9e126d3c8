"""Train one network, or with -m a sweep of them, and learn what its gradients did: `python train.py --help`."""

from zoo.__main__ import main

if __name__ == "__main__":
    main()
