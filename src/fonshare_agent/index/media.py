"""What kind of file a name promises, by its ending: THE table of `find --kind`.

Pure words. The ending is all that a catalogue tells of a file; what is really in it is
known only once it was fetched.
"""

from typing import Final

MEDIA: Final[dict[str, tuple[str, ...]]] = {
    "audio": (
        *("aac", "aif", "aiff", "alac", "amr", "ape", "au", "flac", "it", "m3u"),
        *("m3u8", "m4a", "m4b", "mid", "midi", "mka", "mod", "mp2", "mp3", "mpc"),
        *("oga", "ogg", "opus", "ra", "s3m", "spx", "wav", "weba", "wma", "wv", "xm"),
    ),
    "video": (
        *("3gp", "asf", "avi", "divx", "f4v", "flv", "m2ts", "m2v", "m4v", "mkv"),
        *("mov", "mp4", "mpeg", "mpg", "mts", "ogm", "ogv", "rm", "rmvb"),
        *("ts", "vob", "webm", "wmv", "xvid"),
    ),
    "picture": (
        *("arw", "avif", "bmp", "cr2", "cr3", "dng", "gif", "heic", "heif", "ico"),
        *("jpe", "jpeg", "jpg", "jxl", "nef", "orf", "png", "psd", "raf", "raw"),
        *("rw2", "svg", "tif", "tiff", "webp", "xcf"),
    ),
    "document": (
        *("azw3", "cbr", "cbz", "chm", "csv", "djvu", "doc", "docm", "docx", "epub"),
        *("fb2", "htm", "html", "md", "mobi", "odp", "ods", "odt", "pages", "pdf"),
        *("ppt", "pptx", "ps", "rst", "rtf", "tex", "txt", "xls", "xlsx"),
    ),
}

_ENDINGS = {
    ending.encode(): medium for medium, endings in MEDIA.items() for ending in endings
}


def medium_of(name: bytes) -> str | None:
    """Return the kind that *name* promises, None for any other ending."""
    _, dot, ending = name.rpartition(b".")
    return _ENDINGS.get(ending.lower()) if dot else None
