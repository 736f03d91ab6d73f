"""Codecs of other Python packages: HEIC by pillow-heif, JPEG XL by imagecodecs."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from .. import pictures
from .codecs import Codec, Setting


class Heic(Codec):
    """HEVC stills in the HEIF container, by libheif."""

    name, suffix, settings = "heic", ".heic", tuple(range(101))
    about = "pillow-heif's defaults, 4:2:0"

    def encode(self, image: Image.Image, setting: Setting) -> bytes:
        pictures.register_heif("write HEIC")
        sink = io.BytesIO()
        image.save(sink, "HEIF", quality=int(setting), chroma=420)
        return sink.getvalue()

    def decode(self, data: bytes) -> Image.Image:
        pictures.register_heif("read HEIC")
        return super().decode(data)

    def available(self) -> str | None:
        try:
            import pillow_heif
        except ImportError:
            return "heic needs pillow-heif; pip install pillow-heif"
        if not pillow_heif.libheif_info().get("encoders", {"?": 1}):
            return "heic needs a libheif that can write HEVC; pip install --upgrade pillow-heif"
        return None

    def version(self) -> str:
        import pillow_heif

        return f"libheif {pillow_heif.libheif_version()} in pillow-heif {pillow_heif.__version__}"


class JpegXL(Codec):
    """JPEG XL by imagecodecs. pillow-jxl-plugin is no stand-in: it takes no distance."""

    name, suffix = "jxl", ".jxl"
    settings = tuple(round(float(d), 4) for d in np.geomspace(25, 0.05, 96))  # Butteraugli distances
    about = "effort 7, by Butteraugli distance"

    def encode(self, image: Image.Image, setting: Setting) -> bytes:
        import imagecodecs

        return bytes(imagecodecs.jpegxl_encode(np.asarray(image), distance=setting, effort=7, usecontainer=False))

    def decode(self, data: bytes) -> Image.Image:
        import imagecodecs

        return Image.fromarray(imagecodecs.jpegxl_decode(data)).convert("RGB")

    def available(self) -> str | None:
        try:
            import imagecodecs
        except ImportError:
            return "jxl needs imagecodecs; pip install imagecodecs"
        if not imagecodecs.JPEGXL.available:
            return "jxl needs an imagecodecs that was built with libjxl; pip install --upgrade imagecodecs"
        return None

    def version(self) -> str:
        import imagecodecs

        return f"{imagecodecs.jpegxl_version()} in imagecodecs {imagecodecs.__version__}"
