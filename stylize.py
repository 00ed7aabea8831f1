from wct_jax.cli.stylize import main

main()
