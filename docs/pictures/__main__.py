"""Draw the pictures of the explanations anew: ``python -m docs.pictures``."""

from django.conf import settings

settings.configure()

from .gallery import drawn  # noqa: E402

for file, picture in drawn().items():
    file.write_text(picture)
    print(f"wrote {file}")
