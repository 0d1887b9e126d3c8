"""Where Hydra looks for plugins: only those in a package `hydra_plugins` may be named as a launcher."""
