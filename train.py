from wct_jax.cli.train import main

main()
