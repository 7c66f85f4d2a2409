// model-viewer has a Meshopt decoder of its own, and uses it when the script at `meshoptDecoderLocation` has loaded: this one.
