"""Gradio calls ffmpeg and ffprobe by their names, wherever the system has them or not."""

import os
import shutil
from pathlib import Path

# Gradio takes a file as playable when ffprobe fails, and breaks when there is none.
_NO_PROBE = "#!/bin/sh\nexit 1\n"


def put_ffmpeg_on_path(folder: Path) -> None:
    """Add what is missing to the end of the PATH, from `folder`: an ffmpeg comes with a package.

    It encodes the sound that is heard while music is made. Its package has no ffprobe; the one
    that stands in for it always fails.
    """
    folder.mkdir(exist_ok=True)
    if shutil.which("ffmpeg") is None:
        import imageio_ffmpeg

        (folder / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
    if shutil.which("ffprobe") is None:
        (folder / "ffprobe").write_text(_NO_PROBE)
        (folder / "ffprobe").chmod(0o755)
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}{os.pathsep}{folder}"
