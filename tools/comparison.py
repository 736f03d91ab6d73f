"""The README's picture: a crop of the original, of JPEG and of intaglio at both ends of its dial, at the same bytes.

    python tools/comparison.py PHOTO --bpp 0.25 --crop X,Y,W,H --out docs/images/comparison.png
"""

import argparse
import io

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import intaglio


def jpeg(image: Image.Image, limit: int) -> bytes:
    """The best JPEG (4:2:0, optimised) of at most `limit` bytes, else the smallest."""
    best = b""
    for quality in range(1, 96):
        sink = io.BytesIO()
        image.save(sink, "JPEG", quality=quality, optimize=True, subsampling="4:2:0")
        if best and len(sink.getvalue()) > limit:
            break
        best = sink.getvalue()
    return best


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("photo")
    p.add_argument("--bpp", type=float, default=0.25)
    p.add_argument("--crop", default="0,0,320,320", help="x,y,width,height")
    p.add_argument("--model")
    p.add_argument("--out", default="docs/images/comparison.png")
    a = p.parse_args()
    image = Image.open(a.photo).convert("RGB")
    ours = intaglio.encode(image, target_bpp=a.bpp, model=a.model)
    theirs = jpeg(image, len(ours))
    x, y, w, h = map(int, a.crop.split(","))
    panels = [("original", image, None), ("JPEG", Image.open(io.BytesIO(theirs)).convert("RGB"), theirs)]
    panels += [(f"intaglio, realism {r}", intaglio.decode(ours, realism=r, model=a.model), ours) for r in (0, 1)]
    sheet = Image.new("RGB", (len(panels) * (w + 8) - 8, h + 28), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for i, (name, picture, data) in enumerate(panels):
        label = name
        if data is not None:
            error = np.mean((np.asarray(picture, float) - np.asarray(image, float)) ** 2)
            label += f"  {len(data):,} bytes  {10 * np.log10(65025 / error):.1f} dB"
        sheet.paste(picture.crop((x, y, x + w, y + h)), (i * (w + 8), 28))
        draw.text((i * (w + 8) + 2, 5), label, "black", font)
        print(label)
    sheet.save(a.out, optimize=True)


if __name__ == "__main__":
    main()
