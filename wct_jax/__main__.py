"""`python -m wct_jax` is the command `wct-jax`."""

from wct_jax.cli.main import main

main()
