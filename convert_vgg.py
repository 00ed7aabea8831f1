from wct_jax.cli.convert_vgg import main

main()
