"""The web page: `python -m musicgen_train.app --help`."""

import argparse
import ipaddress
import logging
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from musicgen_train.errors import UserError, exit_on_user_error

if TYPE_CHECKING:
    from musicgen_train.app.server_parts import Offer

_PASSWORD = "MUSICGEN_TRAIN_PASSWORD"
_SHORTEST_PASSWORD = 8  # letters


def parser() -> argparse.ArgumentParser:
    """The options, in the order in which one meets them."""
    p = argparse.ArgumentParser(
        prog="python -m musicgen_train.app",
        description="A web page to generate music, compare takes, fine-tune and evaluate.",
    )
    add = p.add_argument
    add("checkpoints", nargs="*", metavar="CHECKPOINT",
        help="models to offer, the first one chosen: folders, .ckpt files or names; besides, all "
        "of --runs and the released ones are offered (default: tiny)")  # fmt: skip
    add("--adapter", action="append", default=[], metavar="PATH",
        help="an adapter to offer; those of --runs are offered anyway")  # fmt: skip
    add("--host", default="127.0.0.1",
        help="address to answer on; one that others reach needs a password (default: %(default)s)",
    )  # fmt: skip
    add("--port", type=int, default=7860, help="default: %(default)s")
    add("--password",
        help=f"asked of whoever opens the page; better given as {_PASSWORD}, since others on this "
        "machine see the command line")  # fmt: skip
    add("--user", default="musicgen", help="name that goes with it (default: %(default)s)")
    add("--device", help="cpu, cuda, … (default: a GPU if there is one)")
    add("--weights", default="float32", choices=["float32", "bfloat16", "float16", "int8"],
        help="precision: less is faster, a little less exact (default: %(default)s)")  # fmt: skip
    add("--runs", type=Path, default=Path("runs"),
        help="folder of trainings and evaluations (default: %(default)s)")  # fmt: skip
    add("--max-duration", type=float, default=120.0,
        help="longest music that may be asked for, in seconds (default: %(default)g)")  # fmt: skip
    add("--max-upload-mb", type=float, default=100.0,
        help="largest file that may be uploaded (default: %(default)g)")  # fmt: skip
    add("--no-finetune", action="store_true", help="let nobody start or stop fine-tunings")
    return p


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    """Serve the page until Ctrl-C or SIGTERM."""
    args = parser().parse_args(argv)
    password = args.password if args.password is not None else os.environ.get(_PASSWORD)
    check(args, password)
    try:
        run(args, password)
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def check(args: argparse.Namespace, password: str | None) -> None:
    """Refuse what cannot work, or is not safe, before anything is loaded."""
    if password is not None and len(password.strip()) < _SHORTEST_PASSWORD:
        raise UserError(f"the password is too short: give at least {_SHORTEST_PASSWORD} letters")
    if password is None and not is_loopback(args.host):
        raise UserError(
            f"--host {args.host}: whoever reaches it could use this machine: add --password, or "
            f"set {_PASSWORD}"
        )
    if not 1 <= args.port <= 65535:
        raise UserError(f"--port {args.port}: give a number from 1 to 65535")
    if not args.user.strip():
        raise UserError("--user is empty: give a name")
    for name, most in (("max_duration", 3600), ("max_upload_mb", 10_000)):
        value, option = getattr(args, name), f"--{name.replace('_', '-')}"
        if not 1 <= value <= most:
            raise UserError(f"{option} {value:g}: give a number from 1 to {most}")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def offer_of(args: argparse.Namespace) -> "Offer":
    """What the options offer."""
    from musicgen_train.app.request import Limits
    from musicgen_train.app.server_parts import Offer

    return Offer(
        checkpoints=args.checkpoints or ["tiny"],
        adapters=dict.fromkeys(args.adapter),
        device=args.device,
        weights=args.weights,
        runs_dir=args.runs,
        limits=Limits(
            max_duration=args.max_duration, max_upload_bytes=round(args.max_upload_mb * 1e6)
        ),
        finetuning=not args.no_finetune,
    )


def run(args: argparse.Namespace, password: str | None) -> None:
    """Open the page, say where it is, and clean up at the end."""
    # Here, not above: torch and gradio take seconds, and --help must not wait for them.
    from musicgen_train.app.page import Access, build_page, serve
    from musicgen_train.app.server_parts import ServerParts

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    parts = ServerParts(offer_of(args))
    try:
        page = build_page(parts)
        address = serve(page, parts, Access(args.host, args.port, args.user, password))
        print(f"The page is at {address} (Ctrl-C ends it)", flush=True)
        ended.wait()
        print("ending …", flush=True)
        page.close(verbose=False)
    finally:
        for name in parts.close():
            print(f"the fine-tuning {name} goes on; the next page shows it again", flush=True)


if __name__ == "__main__":
    main()
