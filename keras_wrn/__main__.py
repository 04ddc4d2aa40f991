"""`python -m keras_wrn` is `keras-wrn`."""

from keras_wrn.cli.main import run

if __name__ == "__main__":
    run()
