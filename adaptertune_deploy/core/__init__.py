"""What every part may know: values, files and formats; numpy, Pillow and safetensors only."""
