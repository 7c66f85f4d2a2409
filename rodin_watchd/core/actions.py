"""The action words of the log: one table, which docs/service.md shows. Pure.

A word stays the same from version to version. Those of jobs are the actions in their history as well, and those of the
service the kinds of its events, where it has one.
"""

from __future__ import annotations

from collections.abc import Mapping

JOB_ACTIONS: Mapping[str, str] = {
    "claimed": "a complete set was taken",
    "staged": "its files were checked",
    "uploading": "the upload begins, without its last bytes",
    "submitting": "the last bytes go out",
    "answered": "the vendor's answer to the submit is here",
    "submitted": "the vendor accepted and charged it",
    "progress": "the vendor says how far it is",
    "generated": "the vendor is done; again if its results are to be fetched anew",
    "downloaded": "the results are here",
    "processed": "plugins are done with the results",
    "delivered": "the results are in the outbox",
    "archived": "the inputs are in the archive: the end",
    "unlisted": "a result was fetched, and the vendor does not list it any more: it is delivered",
    "repeated": "a step did not succeed and is tried again",
    "over-budget": "it waits for another day",
    "within-budget": "it waits no longer",
    "held": "whether it was charged is not known, or it was charged in vain: a person decides, or the balance",
    "charged": "the balance shows that it was charged",
    "not-charged": "the balance shows that what was lost or refused was not charged: it goes on",
    "undecided": "the balance does not show it",
    "doubted": "what the balance had shown to be free may have been charged after all",
    "failing": "it failed, the files are to be moved",
    "failed": "the inputs and a report are in `failed/`: the end",
    "retry": "a person had a failed job taken up again",
    "cancel": "a person canceled it",
    "resolve": "a person decided about a held job",
    "files-gone": "somebody removed its files from the work folder",
    "alarm": "the vendor will not keep its result much longer",
    "plugin": "a plugin's hook was called",
    "unknown-word": "the vendor used a word that its contract does not have",
    "call": "a call to the vendor was answered; of no job where the balance was asked for",
    "sharing": "mode or group of what is published cannot be set",
    "set-aside": "a work folder that belongs to no live job lies in `failed/` now",
    "stray": "such a folder, or what such a job had claimed in the inbox, cannot be moved there",
}
"""What happens to a job: such a line has the job, and the set if it is known."""

SERVICE_ACTIONS: Mapping[str, str] = {
    "serving": "the start: which folder, which vendor",
    "watching": "how changes are noticed, or why one may be noticed late",
    "started": "a start, or a configuration read anew, looks again at what was paused",
    "safe-mode": "it was started without plugins",
    "restored": "the journal is older than what was paid: a backup that was put back, or an older copy",
    "copied": "the root or its journal was copied or moved: nothing is taken or sent until `accept root`",
    "accepted": "that is over",
    "journal-written-out": "files of the journal were removed or exchanged, and it was written out again",
    "journal-lost": "at the end the journal could not be written out where its files had been removed or exchanged",
    "paused": "something stands still; again when its cause changes",
    "resumed": "it goes on",
    "offline": "a folder is away",
    "online": "it is back",
    "root-away": "the start waits for the root",
    "submits": "the count of submits cannot be noted in a folder as well, or can at last",
    "mark": "a folder cannot be marked as the service's, or is marked at last",
    "crowd": "sets wait for approval",
    "approved": "a person approved them",
    "low-balance": "credits run low",
    "balance-restored": "they do no longer",
    "unmovable": "a set that the service may not move waits in the inbox",
    "unmovable-ended": "it may be moved now, or is gone",
    "inquiry": "the balance is asked whether a submit was charged",
    "balance-doubted": "how much the balance fell later than it was asked for, and what follows",
    "inquiry-ended": "what it told",
    "plugin-left-out": "a plugin is not used in this run",
    "plugin-aside": "a plugin that keeps failing is not called for a while",
    "plugin-back": "it is called again",
    "command": "a person's command that no other line tells of: pause, resume, a repeated call, a refused one",
    "status": "`STATUS.txt`, or the journal's copy, is not up to date, or is again",
    "sign": "no sign of life can be left for `health`, or it is left again",
    "metrics": "metrics cannot be had or written, or can again",
    "reloaded": "the configuration was read anew, with what changed",
    "reload-refused": "a mistake in the new configuration: the old one stays",
    "stopping": "the end begins",
    "stopped": "the end",
    "ended": "a mistake or a fault that ended the service",
    "fault": "a fault of the program, with its traceback",
}
"""What happens to the service. A `fault` in a step has that step's job."""

ACTIONS: Mapping[str, str] = {**JOB_ACTIONS, **SERVICE_ACTIONS}
"""All words that a line of the service can begin with."""
