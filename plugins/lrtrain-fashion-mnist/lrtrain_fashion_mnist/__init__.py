"""Fashion-MNIST for lrtrain: the official files, and a tensorflow-datasets builder that needs no TensorFlow."""
