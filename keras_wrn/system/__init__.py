"""The machine below the package: Keras' backend, files, downloads, versions, console."""
