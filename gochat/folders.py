"""Folders of the server: what a command makes in one belongs to the folder's owner, whoever runs the command."""

import os
from pathlib import Path


def make_folder(folder: Path) -> None:
    """Makes it, and what is missing above it, each for the owner of the folder that it is in. Raises OSError."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    made = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        give_to_owner(made, folder.parent)
    finally:
        os.close(made)


def open_or_create(file: Path) -> int:
    """A file descriptor to read and write; a new file is empty, and its owner's alone. Raises OSError."""
    flags = os.O_RDWR | os.O_CLOEXEC
    try:
        created = os.open(file, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(file, flags)
    give_to_owner(created, file.parent)
    return created


def give_to_owner(descriptor: int, folder: Path) -> None:
    """Gives a file that this process has made to the owner of the folder, which only root can. (By its descriptor:
    behind its name there may be something else by now.) Raises OSError."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
