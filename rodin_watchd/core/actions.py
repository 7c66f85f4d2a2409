"""The actions of the log: one table, which docs/service.md shows. Pure.

An action stays the same from version to version. Those of jobs are also the actions in their history, and those of the
service are also the kinds of its events, if there is such an event.
"""

from __future__ import annotations

from collections.abc import Mapping

JOB_ACTIONS: Mapping[str, str] = {
    "claimed": "a complete set was taken",
    "staged": "its files were checked",
    "uploading": "the upload begins, without its last bytes",
    "submitting": "the last bytes are sent",
    "answered": "the vendor's answer to the submit is here",
    "submitted": "the vendor accepted and charged it",
    "goes-ahead": "another job of a set with several goes ahead: what the first one buys was bought before",
    "spread": "the vendor has taken the first job of a set with several: the others begin",
    "progress": "the vendor says how far it is",
    "generated": "the vendor is done; also when its results must be fetched again",
    "downloaded": "the results are here",
    "processed": "plugins are done with the results",
    "delivered": "the results are in the outbox",
    "archived": "the inputs are in the archive: the end",
    "changed-input": "a file of the set was changed after it was taken: the result is made of what it was before",
    "unlisted": "a result was fetched, and the vendor does not list it any more: it is delivered",
    "repeated": "a step did not succeed and is tried again",
    "over-budget": "it waits for another day",
    "within-budget": "it waits no longer",
    "held": "it is not known whether it was charged, or it was charged without a result: a person decides, or the balance",
    "charged": "the balance shows that it was charged",
    "not-charged": "the balance shows that the lost or refused submit was not charged: it continues",
    "undecided": "the balance does not show it",
    "doubted": "a submit that looked free by the balance may have been charged after all",
    "returning": "a program still writes a file of the set, or has changed it: the set goes back into the inbox",
    "returned": "the set is back in the inbox, and is judged anew",
    "failing": "it failed, its files will be moved",
    "failed": "the inputs and a report are in `failed/`: the end",
    "resolved": "the set of a failed job was delivered since, by another job: it is listed as failed no more",
    "clear": "a person had the folder of a failed job moved to the archive",
    "retry": "a person took a failed job up again",
    "cancel": "a person canceled it",
    "resolve": "a person decided about a held job",
    "files-gone": "somebody removed its files from the work folder",
    "alarm": "the vendor will soon delete its result",
    "plugin": "a plugin's hook was called",
    "unknown-word": "the vendor used a word that is not in its documents",
    "call": "a call to the vendor was answered; a call for the balance has no job",
    "sharing": "mode or group of published files cannot be set",
    "set-aside": "a work folder that belongs to no live job was moved to `failed/`",
    "stray": "such a folder, or files that such a job had claimed in the inbox, cannot be moved there",
}
"""What happens to a job: such a line has the job, and the set if it is known."""

SERVICE_ACTIONS: Mapping[str, str] = {
    "serving": "the start: which folder, which vendor",
    "watching": "how changes are noticed, or why one may be noticed late",
    "started": "a start checks again what was paused, all but what concerns the vendor",
    "safe-mode": "it was started without plugins",
    "restored": "the journal is older than what was paid: a restored backup, or an older copy",
    "copied": "the root or its journal was copied or moved: nothing is taken or sent until `accept root`",
    "accepted": "a person accepted the copied root or the older journal",
    "journal-written-out": "files of the journal were removed or replaced, and it was written again",
    "journal-lost": "at the end the journal could not be written again after its files had been removed or replaced",
    "paused": "something is paused; also when its cause changes",
    "resumed": "it continues",
    "offline": "a folder is away",
    "online": "it is back",
    "root-away": "the start waits for the root",
    "submits": "the count of submits cannot be noted in a second folder, or can again",
    "mark": "a folder cannot get the service's mark, or has it now",
    "crowd": "sets wait for approval",
    "approved": "a person approved them",
    "crowd-ended": "no set waits for approval any more",
    "low-balance": "credits run low",
    "balance-restored": "there are enough credits again",
    "unmovable": "a set was copied, for the service has no permission to move it; it stays in the inbox",
    "unmovable-ended": "it can be moved now, or is gone, or was changed",
    "inquiry": "the balance is read to find out whether a submit was charged",
    "balance-doubted": "how much the balance fell after it was read, and what follows",
    "balance-believed": "the balance may show again that a submit was free: `budget.settle_seconds` was raised",
    "balance-unwatched": "submits that had looked free count as spent: later balances cannot be compared",
    "inquiry-ended": "what the balance showed",
    "plugin-left-out": "a plugin is not used in this run",
    "plugin-aside": "a plugin that keeps failing is not called for a while",
    "plugin-back": "it is called again",
    "command": "a person's command without another line: pause, resume, a repeated call, a refused command",
    "status": "`STATUS.txt`, or the journal's copy of it, is not up to date, or is again",
    "sign": "the heartbeat file for `health` cannot be written, or can again",
    "metrics": "metrics cannot be read or written, or can again",
    "web": "what the process of the page in the browser says, like its address",
    "web-ended": "that process ended, and why; it is started again by itself",
    "reloaded": "the configuration was reloaded, with what changed",
    "reload-refused": "a mistake in the new configuration: the old one stays",
    "stopping": "the stop begins",
    "stopped": "the service has stopped",
    "ended": "a mistake or a fault that ended the service",
    "fault": "a fault of the program, with its traceback",
}
"""What happens to the service. A `fault` in a step has that step's job."""

ACTIONS: Mapping[str, str] = {**JOB_ACTIONS, **SERVICE_ACTIONS}
"""All words that a line of the service can begin with."""
