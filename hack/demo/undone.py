"""The chapter about what a run changed, told from the record and taken back."""

from hack.demo.screen import ADMIN, AGENT, APPROVER, chapter
from hack.demo.stage import Story, pending
from hack.demo.watched import SETTINGS

SHOP = "configmaps/demo/shop"


def undone(story: Story, number: int) -> None:
    chapter(
        number,
        "Taken back: what the run changed",
        "The record holds what each write found and left, masked. An undo goes through the gateway, like any write.",
    )
    store, run = str(story.layout.audit), story.editing_run
    told = story.chaperone(
        ADMIN, story.admin, "sessions", "diff", run, "--store", store, "--object", SHOP, most=24
    )
    story.check(
        "colour=blue" in told.stdout and "colour=green" in told.stdout and "password=masked-" in told.stdout,
        "before and after, and the password in neither",
    )
    undo = ("sessions", "undo", run, "--store", store, "--object", SHOP, "--yes", "--no-wait")
    story.chaperone(AGENT, story.agent, *undo)
    name = pending(story, "shop")
    story.chaperone(APPROVER, story.approver, "approve", name, "--reason", "it was better before")
    done = story.chaperone(AGENT, story.agent, *undo)
    shop = story.admin.get("configmap", "shop", "-n", "demo") or {}
    story.check(
        done.returncode == 0 and shop.get("data", {}).get("app.properties") == SETTINGS,
        "the old colour is back, and the password is byte for byte what it was",
    )
