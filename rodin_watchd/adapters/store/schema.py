"""The journal's schema: numbered migrations, with the project's invariants in them.

A migration that has shipped is never edited; a change is a new one at the end.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from string import Template
from typing import Final, NamedTuple

from rodin_watchd.adapters.store import codec as rows
from rodin_watchd.core.dedup import fingerprint, first_fingerprint
from rodin_watchd.core.kinds import TEXTURE
from rodin_watchd.core.machine import ENDED, TABLE
from rodin_watchd.model import State

# ---- Bringing the rows of an older journal up to date, where SQL alone cannot: inside the migration's transaction ----


_CONTENTS: Final = """
    SELECT id, fingerprint, CASE WHEN json_valid(doc) THEN json_extract(doc, '$.files', '$.options') END,
        fingerprint <> '' AND (state NOT IN (SELECT value FROM json_each(?))
            OR state = 'archived' AND NOT EXISTS (SELECT 1 FROM purchases WHERE job_id = jobs.id AND outcome <> 'free'))
    FROM jobs WHERE fingerprint <> '' OR id IN (SELECT job_id FROM purchases) ORDER BY rowid
"""
_MOVE: Final = "UPDATE purchases SET fingerprint = :second WHERE job_id = :job_id AND fingerprint = :first"
_UPDATE: Final = """
    UPDATE OR IGNORE jobs SET fingerprint = :second, doc = json_set(doc, '$.fingerprint', :second) WHERE id = :job_id
"""


class _Content(NamedTuple):
    """What a job buys."""

    job_id: str
    first: str  # the fingerprint by which the version before knew it
    second: str
    by_itself: bool  # whether the job is found by its own: it is under way, or has a result that no purchase records


def bring_up_to_date(db: sqlite3.Connection) -> None:
    """Give purchases, and the jobs that are found by their own fingerprint, that of version 2.

    A purchase of which its job does not say any more what was bought keeps the one it has. The schema allows one live job
    for each fingerprint: the second of two that were kept apart keeps its own until it is sent. In the caller's
    transaction. Raises sqlite3.Error.
    """
    by_themselves = []
    for known in _contents(db):
        db.execute(_MOVE, known._asdict())
        if known.by_itself:
            by_themselves.append(known._asdict())
    db.executemany(_UPDATE, by_themselves)


def _contents(db: sqlite3.Connection) -> Iterator[_Content]:
    """Yield what jobs buy whose documents can be read and that were staged; another's fault is reported when it is read."""
    for job_id, known, stored, by_itself in db.execute(_CONTENTS, (json.dumps(sorted(ENDED)),)):
        try:
            files, options = rows.bought(stored)
        except (ValueError, TypeError, LookupError, AttributeError):
            continue
        if files and all(file.sha256 for file in files):
            first = known or first_fingerprint(files, options)
            yield _Content(job_id, first, fingerprint(TEXTURE, files, options), bool(by_itself))


_MIGRATIONS: Final = (
    """
    CREATE TABLE jobs (
        id TEXT PRIMARY KEY,
        state TEXT NOT NULL CHECK (state IN ($STATES)),
        name TEXT NOT NULL,
        folder TEXT NOT NULL,
        top TEXT NOT NULL,
        fingerprint TEXT NOT NULL DEFAULT '',
        kind TEXT NOT NULL,
        vendor_seconds REAL,
        task_uuid TEXT,
        charges INTEGER NOT NULL CHECK (charges >= 0),
        created_at REAL NOT NULL,
        changed_at REAL NOT NULL,
        place TEXT NOT NULL,
        doc TEXT NOT NULL,
        CHECK (task_uuid IS NOT NULL OR state NOT IN ('submitted', 'generated', 'downloaded', 'processed', 'delivered')),
        CONSTRAINT never_paid_twice CHECK (task_uuid IS NULL OR state NOT IN ('staged', 'uploading', 'submitting')),
        CHECK (fingerprint <> '' OR state IN ('claimed', 'failing', 'failed'))
    ) STRICT;
    CREATE UNIQUE INDEX one_live_job_for_each_content ON jobs (fingerprint)
        WHERE fingerprint <> '' AND state NOT IN ($ENDED);
    CREATE INDEX jobs_by_state ON jobs (state, changed_at);
    CREATE INDEX jobs_by_content ON jobs (fingerprint) WHERE fingerprint <> '';
    CREATE INDEX jobs_by_task ON jobs (task_uuid) WHERE task_uuid IS NOT NULL;
    CREATE INDEX jobs_by_kind ON jobs (kind, created_at) WHERE vendor_seconds IS NOT NULL;
    CREATE TABLE events (
        id INTEGER PRIMARY KEY,
        job_id TEXT NOT NULL REFERENCES jobs (id),
        at REAL NOT NULL,
        action TEXT NOT NULL,
        state TEXT NOT NULL,
        message TEXT NOT NULL
    ) STRICT;
    CREATE INDEX events_by_job ON events (job_id, id);
    CREATE TABLE service_events (
        id INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        kind TEXT NOT NULL,
        message TEXT NOT NULL
    ) STRICT;
    -- What was begun to be bought: the content ledger and the budget's books. Triggers keep it in step with the jobs.
    CREATE TABLE purchases (
        id INTEGER PRIMARY KEY,
        job_id TEXT NOT NULL REFERENCES jobs (id),
        fingerprint TEXT NOT NULL,
        top TEXT NOT NULL,
        at REAL NOT NULL,
        outcome TEXT NOT NULL CHECK (outcome IN ('open', 'charged', 'unknown', 'free')),
        told INTEGER NOT NULL DEFAULT 0 -- ended while the job was held, so not by the vendor's answer
    ) STRICT;
    CREATE UNIQUE INDEX one_open_purchase_for_each_job ON purchases (job_id) WHERE outcome = 'open';
    CREATE INDEX purchases_by_job ON purchases (job_id);
    CREATE INDEX purchases_by_content ON purchases (fingerprint) WHERE outcome <> 'free';
    CREATE INDEX purchases_by_time ON purchases (at) WHERE outcome = 'charged';
    -- Calls of plugins' hooks: made, or owed. What is owed is written with what it tells of.
    CREATE TABLE hook_runs (
        id INTEGER PRIMARY KEY,
        event_id TEXT NOT NULL,
        job_id TEXT REFERENCES jobs (id),
        hook TEXT NOT NULL,
        plugin TEXT NOT NULL,
        outcome TEXT NOT NULL CHECK (outcome IN ('due', 'done', 'failed')),
        arguments TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        not_before REAL NOT NULL,
        value TEXT NOT NULL,
        told TEXT NOT NULL,
        output TEXT NOT NULL,
        seconds REAL NOT NULL,
        at REAL NOT NULL,
        UNIQUE (event_id, plugin)
    ) STRICT;
    CREATE INDEX hook_runs_due ON hook_runs (not_before) WHERE outcome = 'due';
    CREATE INDEX hook_runs_by_job ON hook_runs (job_id);
    CREATE TABLE commands (
        id INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        verb TEXT NOT NULL,
        arguments TEXT NOT NULL,
        answer TEXT
    ) STRICT;
    CREATE INDEX commands_open ON commands (id) WHERE answer IS NULL;
    CREATE TABLE gate (name TEXT PRIMARY KEY, verdict TEXT NOT NULL CHECK (verdict IN ('held', 'passed'))) STRICT;
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE moves (before TEXT NOT NULL, after TEXT NOT NULL, PRIMARY KEY (before, after)) STRICT;
    CREATE TRIGGER legal_moves_only BEFORE UPDATE OF state ON jobs
        WHEN NOT EXISTS (SELECT 1 FROM moves WHERE before = OLD.state AND after = NEW.state)
        BEGIN SELECT RAISE (ABORT, 'not a legal move'); END;
    CREATE TRIGGER costs_are_kept BEFORE UPDATE OF charges ON jobs WHEN NEW.charges < OLD.charges
        BEGIN SELECT RAISE (ABORT, 'what was paid stays paid'); END;
    CREATE TRIGGER purchase_begins AFTER UPDATE OF state ON jobs
        WHEN NEW.state = 'uploading' AND json_extract(NEW.doc, '$$.answer') IS NULL BEGIN
        UPDATE purchases SET outcome = 'free' WHERE job_id = NEW.id AND outcome = 'open';
        INSERT INTO purchases (job_id, fingerprint, top, at, outcome) VALUES (NEW.id, NEW.fingerprint,
            NEW.top, NEW.changed_at, 'open');
    END;
    CREATE TRIGGER purchase_is_charged AFTER UPDATE OF charges ON jobs WHEN NEW.charges > OLD.charges
        BEGIN UPDATE purchases SET outcome = 'charged', told = OLD.state = 'held'
            WHERE job_id = NEW.id AND outcome = 'open'; END;
    CREATE TRIGGER purchase_was_free AFTER UPDATE OF state ON jobs
        WHEN OLD.state IN ('uploading', 'submitting', 'held') AND NEW.state = 'staged'
            OR OLD.state IN ('uploading', 'submitting') AND NEW.state = 'failing'
        BEGIN UPDATE purchases SET outcome = 'free', told = OLD.state = 'held'
            WHERE job_id = NEW.id AND outcome = 'open'; END;
    CREATE TRIGGER purchase_stays_unknown AFTER UPDATE OF state ON jobs WHEN OLD.state = 'held' AND NEW.state = 'failing'
        BEGIN UPDATE purchases SET outcome = 'unknown' WHERE job_id = NEW.id AND outcome = 'open'; END;
    CREATE TRIGGER purchases_are_kept_1 BEFORE DELETE ON purchases
        BEGIN SELECT RAISE (ABORT, 'purchases are never deleted'); END;
    CREATE TRIGGER purchases_are_kept_2 BEFORE UPDATE OF outcome ON purchases
        WHEN OLD.outcome = 'charged' AND NEW.outcome <> 'charged'
        BEGIN SELECT RAISE (ABORT, 'what was paid stays paid'); END;
    CREATE TRIGGER history_is_kept_1 BEFORE UPDATE ON events BEGIN SELECT RAISE (ABORT, 'history is append-only'); END;
    CREATE TRIGGER history_is_kept_2 BEFORE DELETE ON events BEGIN SELECT RAISE (ABORT, 'history is append-only'); END;
    CREATE TRIGGER history_is_kept_3 BEFORE UPDATE ON service_events
        BEGIN SELECT RAISE (ABORT, 'history is append-only'); END;
    CREATE TRIGGER history_is_kept_4 BEFORE DELETE ON service_events
        BEGIN SELECT RAISE (ABORT, 'history is append-only'); END;
    CREATE TRIGGER jobs_are_kept BEFORE DELETE ON jobs BEGIN SELECT RAISE (ABORT, 'jobs are never deleted'); END;
    """,
    """
    -- Purchases say what they cost and by which consent they were begun; what was refused by an answer is not known to be free.
    DROP TRIGGER purchase_begins;
    DROP TRIGGER purchase_is_charged;
    DROP TRIGGER purchase_was_free;
    DROP TRIGGER purchase_stays_unknown;
    CREATE TABLE purchases_2 (
        id INTEGER PRIMARY KEY,
        job_id TEXT NOT NULL REFERENCES jobs (id),
        fingerprint TEXT NOT NULL,
        consent TEXT NOT NULL DEFAULT '', -- what allowed to pay for this content once more; "" for the first time
        top TEXT NOT NULL,
        at REAL NOT NULL,
        outcome TEXT NOT NULL CHECK (outcome IN ('open', 'charged', 'unknown', 'refused', 'free')),
        cost TEXT NOT NULL, -- credits, a decimal number: the list price, or what the vendor says that it took
        told INTEGER NOT NULL DEFAULT 0 -- ended while the job was held, so not by the vendor's answer
    ) STRICT;
    INSERT INTO purchases_2 (id, job_id, fingerprint, top, at, outcome, cost, told)
        SELECT id, job_id, fingerprint, top, at, outcome, '0.5', told FROM purchases;
    DROP TABLE purchases;
    ALTER TABLE purchases_2 RENAME TO purchases;
    CREATE UNIQUE INDEX one_open_purchase_for_each_job ON purchases (job_id) WHERE outcome = 'open';
    CREATE INDEX purchases_by_job ON purchases (job_id);
    CREATE INDEX purchases_by_content ON purchases (fingerprint) WHERE outcome <> 'free';
    CREATE INDEX purchases_by_time ON purchases (at, cost) WHERE outcome = 'charged';
    CREATE INDEX purchases_refused ON purchases (id) WHERE outcome = 'refused';
    CREATE TRIGGER purchase_begins AFTER UPDATE OF state ON jobs
        WHEN NEW.state = 'uploading' AND json_extract(NEW.doc, '$$.answer') IS NULL BEGIN
        UPDATE purchases SET outcome = 'free' WHERE job_id = NEW.id AND outcome = 'open';
        INSERT INTO purchases (job_id, fingerprint, consent, top, at, outcome, cost) VALUES (NEW.id, NEW.fingerprint,
            coalesce(json_extract(NEW.doc, '$$.consent'), ''), NEW.top, NEW.changed_at, 'open',
            coalesce(json_extract(NEW.doc, '$$.price'), '0.5'));
    END;
    CREATE TRIGGER purchase_is_charged AFTER UPDATE OF charges ON jobs WHEN NEW.charges > OLD.charges
        BEGIN UPDATE purchases SET outcome = 'charged', told = OLD.state = 'held',
            cost = coalesce(json_extract(NEW.doc, '$$.task.credits'), cost)
            WHERE id = (SELECT id FROM purchases WHERE job_id = NEW.id AND outcome <> 'charged'
                ORDER BY outcome = 'open' DESC, outcome IN ('refused', 'unknown') DESC, id DESC LIMIT 1); END;
    -- Version 1 booked an upload as free that was under way while the configuration was read anew: its job says what it cost.
    -- As many rows as are missing: the newest free ones, for what is unknown counts as spent already.
    UPDATE purchases SET outcome = 'charged' WHERE id IN (
        SELECT id FROM (
            SELECT purchases.id,
                row_number() OVER (PARTITION BY job_id ORDER BY outcome = 'free' DESC, purchases.id DESC) AS place,
                charges - (SELECT count(*) FROM purchases AS paid
                    WHERE paid.job_id = jobs.id AND paid.outcome = 'charged') AS missing
            FROM purchases JOIN jobs ON jobs.id = job_id WHERE outcome IN ('free', 'unknown'))
        WHERE place <= missing);
    CREATE TRIGGER purchase_was_free AFTER UPDATE OF state ON jobs
        WHEN OLD.state = 'held' AND NEW.state = 'staged' OR OLD.state = 'uploading' AND NEW.state IN ('staged', 'failing')
            AND json_extract(OLD.doc, '$$.answer') IS NULL
        BEGIN UPDATE purchases SET outcome = 'free', told = OLD.state = 'held'
            WHERE job_id = NEW.id AND outcome = 'open'; END;
    CREATE TRIGGER purchase_was_refused AFTER UPDATE OF state ON jobs
        WHEN NEW.state IN ('staged', 'failing') AND (OLD.state = 'submitting'
            OR OLD.state = 'uploading' AND json_extract(OLD.doc, '$$.answer') IS NOT NULL)
        BEGIN UPDATE purchases SET outcome = 'refused' WHERE job_id = NEW.id AND outcome = 'open'; END;
    CREATE TRIGGER purchase_stays_unknown AFTER UPDATE OF state ON jobs WHEN OLD.state = 'held' AND NEW.state = 'failing'
        BEGIN UPDATE purchases SET outcome = 'unknown' WHERE job_id = NEW.id AND outcome = 'open'; END;
    CREATE TRIGGER purchases_are_kept_1 BEFORE DELETE ON purchases
        BEGIN SELECT RAISE (ABORT, 'purchases are never deleted'); END;
    CREATE TRIGGER purchases_are_kept_2 BEFORE UPDATE OF outcome ON purchases
        WHEN OLD.outcome = 'charged' AND NEW.outcome <> 'charged'
        BEGIN SELECT RAISE (ABORT, 'what was paid stays paid'); END;
    -- What an event is about, and which error it tells of, as words for programs; a message is for people alone.
    ALTER TABLE events ADD COLUMN code TEXT NOT NULL DEFAULT '';
    ALTER TABLE service_events ADD COLUMN subject TEXT NOT NULL DEFAULT '';
    ALTER TABLE service_events ADD COLUMN code TEXT NOT NULL DEFAULT '';
    DROP TRIGGER history_is_kept_3;
    UPDATE service_events SET subject = substr(message, 1, instr(message, ':') - 1)
        WHERE kind IN ('paused', 'resumed') AND instr(message, ':') > 1;
    UPDATE service_events SET subject = substr(message, 1, instr(message, ' ') - 1)
        WHERE kind IN ('offline', 'online') AND instr(message, ' ') > 1;
    UPDATE service_events SET subject = 'backup' WHERE kind = 'resumed' AND message = 'The journal''s backup is made again.';
    CREATE TRIGGER history_is_kept_3 BEFORE UPDATE ON service_events
        BEGIN SELECT RAISE (ABORT, 'history is append-only'); END;
    -- Approval is given for what was there when a person looked: numbers that are never given twice tell before and after.
    CREATE TABLE gate_2 (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        verdict TEXT NOT NULL CHECK (verdict IN ('held', 'passed'))
    ) STRICT;
    INSERT INTO gate_2 (name, verdict) SELECT name, verdict FROM gate;
    DROP TABLE gate;
    ALTER TABLE gate_2 RENAME TO gate;
    """,
    """
    -- Purchases say whether they could have been charged, and are found by what was dropped as well, before plugins changed an option.
    ALTER TABLE purchases ADD COLUMN dropped TEXT NOT NULL DEFAULT ''; -- the fingerprint of what was dropped
    ALTER TABLE purchases ADD COLUMN sent INTEGER NOT NULL DEFAULT 0; -- the whole set was sent, or something was answered
    ALTER TABLE purchases ADD COLUMN confirmed INTEGER NOT NULL DEFAULT 0; -- the balance fell by what it cost
    UPDATE purchases SET sent = 1 WHERE outcome IN ('refused', 'unknown')
        OR outcome = 'open' AND job_id IN (SELECT id FROM jobs WHERE state IN ('submitting', 'held'));
    DROP INDEX purchases_by_content;
    CREATE INDEX purchases_by_content ON purchases (fingerprint);
    CREATE INDEX purchases_by_drop ON purchases (dropped) WHERE dropped <> '';
    DROP TRIGGER purchase_begins;
    DROP TRIGGER purchase_is_charged;
    CREATE TRIGGER purchase_was_sent AFTER UPDATE OF state ON jobs
        WHEN NEW.state = 'submitting' OR NEW.state = 'uploading' AND json_extract(NEW.doc, '$$.answer') IS NOT NULL
        BEGIN UPDATE purchases SET sent = 1 WHERE job_id = NEW.id AND outcome = 'open' AND NOT sent; END;
    CREATE TRIGGER purchase_begins AFTER UPDATE OF state ON jobs
        WHEN NEW.state = 'uploading' AND OLD.state <> 'submitting' AND json_extract(NEW.doc, '$$.answer') IS NULL BEGIN
        UPDATE purchases SET outcome = CASE WHEN sent THEN 'refused' ELSE 'free' END
            WHERE job_id = NEW.id AND outcome = 'open';
        INSERT INTO purchases (job_id, fingerprint, dropped, consent, top, at, outcome, cost) VALUES (NEW.id,
            NEW.fingerprint, coalesce(json_extract(NEW.doc, '$$.dropped'), ''),
            coalesce(json_extract(NEW.doc, '$$.consent'), ''), NEW.top, NEW.changed_at, 'open',
            coalesce(json_extract(NEW.doc, '$$.price'), '0.5'));
    END;
    -- A submit whose last bytes were withheld goes on in the purchase that it began: nothing was sent that could have been charged.
    CREATE TRIGGER purchase_was_withheld AFTER UPDATE OF state ON jobs
        WHEN OLD.state = 'submitting' AND NEW.state = 'uploading' AND json_extract(NEW.doc, '$$.answer') IS NULL
        BEGIN UPDATE purchases SET sent = 0 WHERE job_id = NEW.id AND outcome = 'open'; END;
    -- A task that a person found for a held job costs what was reserved for it: nobody said that it took the list price.
    CREATE TRIGGER purchase_is_charged AFTER UPDATE OF charges ON jobs WHEN NEW.charges > OLD.charges
        BEGIN UPDATE purchases SET outcome = 'charged', told = OLD.state = 'held',
            cost = coalesce(json_extract(NEW.doc, '$$.task.credits'),
                CASE WHEN OLD.state = 'held' OR json_extract(NEW.doc, '$$.task.uuid') IS NULL THEN cost ELSE '0.5' END)
            WHERE id = (SELECT id FROM purchases WHERE job_id = NEW.id AND outcome <> 'charged'
                ORDER BY outcome = 'open' DESC, outcome IN ('refused', 'unknown') DESC, id DESC LIMIT 1); END;
    -- What came out, as it came and as plugins left it: a model that this service has made is not bought as a new set.
    -- No OR IGNORE in the triggers: the upsert that fires them has a conflict clause of its own, which stands above theirs.
    CREATE TABLE results (
        sha256 TEXT NOT NULL,
        job_id TEXT NOT NULL REFERENCES jobs (id),
        PRIMARY KEY (sha256, job_id)
    ) STRICT, WITHOUT ROWID;
    INSERT OR IGNORE INTO results SELECT json_extract(made.value, '$$.sha256'), jobs.id
        FROM jobs, json_each(CASE WHEN json_valid(doc) THEN doc ELSE '{}' END, '$$.results') AS made
        WHERE made.type = 'object';
    INSERT OR IGNORE INTO results SELECT json_extract(made.value, '$$.sha256'), jobs.id
        FROM jobs, json_each(CASE WHEN json_valid(doc) THEN doc ELSE '{}' END, '$$.processed') AS made
        WHERE made.type = 'object';
    CREATE TRIGGER results_came AFTER UPDATE OF state ON jobs WHEN NEW.state = 'downloaded' BEGIN
        INSERT INTO results
            SELECT DISTINCT made, NEW.id FROM (SELECT json_extract(value, '$$.sha256') AS made FROM json_each(NEW.doc, '$$.results'))
            WHERE NOT EXISTS (SELECT 1 FROM results WHERE sha256 = made AND job_id = NEW.id);
    END;
    CREATE TRIGGER results_were_processed AFTER UPDATE OF state ON jobs WHEN NEW.state = 'processed' BEGIN
        INSERT INTO results
            SELECT DISTINCT made, NEW.id FROM (SELECT json_extract(value, '$$.sha256') AS made FROM json_each(NEW.doc, '$$.processed'))
            WHERE NOT EXISTS (SELECT 1 FROM results WHERE sha256 = made AND job_id = NEW.id);
    END;
    -- Each task of the vendor that any job ever had: a job that is paid anew lets its task go, and an answer that repeats it is no proof.
    CREATE TABLE tasks (uuid TEXT PRIMARY KEY, job_id TEXT NOT NULL REFERENCES jobs (id)) STRICT;
    INSERT OR IGNORE INTO tasks (uuid, job_id) SELECT task_uuid, id FROM jobs WHERE task_uuid IS NOT NULL;
    DROP INDEX jobs_by_task;
    CREATE TRIGGER task_is_kept_1 AFTER INSERT ON jobs WHEN NEW.task_uuid IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM tasks WHERE uuid = NEW.task_uuid)
        BEGIN INSERT INTO tasks (uuid, job_id) VALUES (NEW.task_uuid, NEW.id); END;
    CREATE TRIGGER task_is_kept_2 AFTER UPDATE OF task_uuid ON jobs WHEN NEW.task_uuid IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM tasks WHERE uuid = NEW.task_uuid)
        BEGIN INSERT INTO tasks (uuid, job_id) VALUES (NEW.task_uuid, NEW.id); END;
    """,
    """
    -- Purchases say what was bought: the kind of job, and what that costs by the vendor's list. Before, all were textures.
    ALTER TABLE purchases ADD COLUMN kind TEXT NOT NULL DEFAULT 'texture';
    ALTER TABLE purchases ADD COLUMN listed TEXT NOT NULL DEFAULT '0.5'; -- credits, a decimal number
    CREATE INDEX purchases_by_article ON purchases (kind, listed, id) WHERE outcome = 'charged';
    DROP TRIGGER purchase_begins;
    DROP TRIGGER purchase_is_charged;
    CREATE TRIGGER purchase_begins AFTER UPDATE OF state ON jobs
        WHEN NEW.state = 'uploading' AND OLD.state <> 'submitting' AND json_extract(NEW.doc, '$$.answer') IS NULL BEGIN
        UPDATE purchases SET outcome = CASE WHEN sent THEN 'refused' ELSE 'free' END
            WHERE job_id = NEW.id AND outcome = 'open';
        INSERT INTO purchases (job_id, fingerprint, dropped, consent, top, at, outcome, cost, kind, listed) VALUES (NEW.id,
            NEW.fingerprint, coalesce(json_extract(NEW.doc, '$$.dropped'), ''),
            coalesce(json_extract(NEW.doc, '$$.consent'), ''), NEW.top, NEW.changed_at, 'open',
            coalesce(json_extract(NEW.doc, '$$.price'), '0.5'), coalesce(json_extract(NEW.doc, '$$.kind'), 'texture'),
            coalesce(json_extract(NEW.doc, '$$.listed'), '0.5'));
    END;
    CREATE TRIGGER purchase_is_charged AFTER UPDATE OF charges ON jobs WHEN NEW.charges > OLD.charges
        BEGIN UPDATE purchases SET outcome = 'charged', told = OLD.state = 'held',
            cost = coalesce(json_extract(NEW.doc, '$$.task.credits'),
                CASE WHEN OLD.state = 'held' OR json_extract(NEW.doc, '$$.task.uuid') IS NULL THEN cost ELSE listed END)
            WHERE id = (SELECT id FROM purchases WHERE job_id = NEW.id AND outcome <> 'charged'
                ORDER BY outcome = 'open' DESC, outcome IN ('refused', 'unknown') DESC, id DESC LIMIT 1); END;
    """,
    """
    -- Who works on a job, and until when (UTC) nobody else may. With one daemon nobody asks for it.
    ALTER TABLE jobs ADD COLUMN owner TEXT NOT NULL DEFAULT '';
    ALTER TABLE jobs ADD COLUMN lease_until REAL NOT NULL DEFAULT 0.0;
    """,
    """
    -- What balances have shown to be free, and that this was wrong once, is known of the vendor: whatever key and address are used.
    INSERT INTO meta (key, value) SELECT 'balance-verdicts', json_object(
            'freed', json((SELECT json_group_array(json(freed.value))
                FROM meta AS one, json_each(one.value, '$$.freed') AS freed WHERE one.key GLOB 'balance-trust:*')),
            'late_seconds', late_seconds, 'fell', fell)
        FROM (SELECT max(json_extract(value, '$$.late_seconds')) AS late_seconds, json_extract(value, '$$.fell') AS fell
            FROM meta WHERE key GLOB 'balance-trust:*')
        WHERE late_seconds IS NOT NULL;
    UPDATE meta SET value = json_object('moves', json(CASE WHEN json_extract(value, '$$.moves') THEN 'true' ELSE 'false' END))
        WHERE key GLOB 'balance-trust:*';
    """,
    """
    -- What an answer says to have taken is what its submit may have cost, also when it refuses the set or nobody can read it.
    CREATE TRIGGER IF NOT EXISTS purchase_was_answered AFTER UPDATE OF state ON jobs
        WHEN NEW.state IN ('uploading', 'submitting') AND json_extract(NEW.doc, '$$.answer') IS NOT NULL
        BEGIN UPDATE purchases SET cost = coalesce(json_extract(NEW.doc, '$$.price'), cost)
            WHERE job_id = NEW.id AND outcome = 'open'; END;
    """,
    """
    -- A set that somebody still writes goes back into the inbox: its job ends as `returned`. `_learn_states` has the table know that.
    DROP INDEX one_live_job_for_each_content;
    CREATE UNIQUE INDEX one_live_job_for_each_content ON jobs (fingerprint)
        WHERE fingerprint <> '' AND state NOT IN ('archived', 'failed', 'returned');
    DROP TRIGGER purchase_was_free;
    CREATE TRIGGER purchase_was_free AFTER UPDATE OF state ON jobs
        WHEN OLD.state = 'held' AND NEW.state = 'staged'
            OR OLD.state = 'uploading' AND NEW.state IN ('staged', 'failing', 'returning')
            AND json_extract(OLD.doc, '$$.answer') IS NULL
        BEGIN UPDATE purchases SET outcome = 'free', told = OLD.state = 'held'
            WHERE job_id = NEW.id AND outcome = 'open'; END;
    """,
    """
    -- No question of every day reads all of the past: what it would count or search for is kept beside it, by triggers.
    -- Results say which kind of job made them, and whether they had gone into that job as well: a plugin may publish its inputs.
    CREATE TABLE results_2 (
        sha256 TEXT NOT NULL,
        given INTEGER NOT NULL CHECK (given IN (0, 1)), -- it was an input of that job
        job_id TEXT NOT NULL REFERENCES jobs (id),
        kind TEXT NOT NULL,
        PRIMARY KEY (sha256, given, job_id)
    ) STRICT, WITHOUT ROWID;
    -- Each document is read in the order of the file: there may be a million.
    CREATE TEMP TABLE went_in AS SELECT json_extract(file.value, '$$.sha256') AS content, jobs.id AS job_id
        FROM jobs, json_each(CASE WHEN json_valid(doc) THEN doc ELSE '{}' END, '$$.files') AS file
        WHERE EXISTS (SELECT 1 FROM results WHERE sha256 = json_extract(file.value, '$$.sha256') AND job_id = jobs.id);
    INSERT INTO results_2 SELECT sha256, (sha256, job_id) IN (SELECT content, job_id FROM temp.went_in), job_id,
        coalesce((SELECT kind FROM purchases WHERE purchases.job_id = results.job_id LIMIT 1), 'texture') FROM results;
    DROP TABLE temp.went_in;
    DROP TRIGGER results_came;
    DROP TRIGGER results_were_processed;
    DROP TABLE results;
    ALTER TABLE results_2 RENAME TO results;
    CREATE TRIGGER results_came AFTER UPDATE OF state ON jobs WHEN NEW.state = 'downloaded' BEGIN
        INSERT INTO results
            SELECT DISTINCT made, made IN (SELECT json_extract(value, '$$.sha256') FROM json_each(NEW.doc, '$$.files')), NEW.id,
                coalesce(json_extract(NEW.doc, '$$.kind'), 'texture')
            FROM (SELECT json_extract(value, '$$.sha256') AS made FROM json_each(NEW.doc, '$$.results'))
            WHERE NOT EXISTS (SELECT 1 FROM results WHERE sha256 = made AND given IN (0, 1) AND job_id = NEW.id);
    END;
    CREATE TRIGGER results_were_processed AFTER UPDATE OF state ON jobs WHEN NEW.state = 'processed' BEGIN
        INSERT INTO results
            SELECT DISTINCT made, made IN (SELECT json_extract(value, '$$.sha256') FROM json_each(NEW.doc, '$$.files')), NEW.id,
                coalesce(json_extract(NEW.doc, '$$.kind'), 'texture')
            FROM (SELECT json_extract(value, '$$.sha256') AS made FROM json_each(NEW.doc, '$$.processed'))
            WHERE NOT EXISTS (SELECT 1 FROM results WHERE sha256 = made AND given IN (0, 1) AND job_id = NEW.id);
    END;
    -- Jobs are found by the names of their files, which never change, by their own name, and by their task.
    CREATE TABLE input_names (
        name TEXT NOT NULL,
        job_id TEXT NOT NULL REFERENCES jobs (id),
        PRIMARY KEY (name, job_id)
    ) STRICT, WITHOUT ROWID;
    CREATE TRIGGER inputs_are_named AFTER INSERT ON jobs BEGIN
        INSERT INTO input_names
            SELECT DISTINCT substr(source, length(rtrim(source, replace(source, '/', ''))) + 1), NEW.id
            FROM (SELECT json_extract(value, '$$.source') AS source
                FROM json_each(CASE WHEN json_valid(NEW.doc) THEN NEW.doc ELSE '{}' END, '$$.files'));
    END;
    -- The limit has each path read out of its document once, not for each place where it is used.
    INSERT OR IGNORE INTO input_names
        SELECT substr(source, length(rtrim(source, replace(source, '/', ''))) + 1), id
        FROM (SELECT json_extract(value, '$$.source') AS source, jobs.id AS id
            FROM jobs, json_each(CASE WHEN json_valid(doc) THEN doc ELSE '{}' END, '$$.files') LIMIT -1);
    CREATE INDEX jobs_by_name ON jobs (name, created_at);
    CREATE INDEX jobs_by_task ON jobs (task_uuid) WHERE task_uuid IS NOT NULL;
    -- How many jobs have ended; those that live are few.
    CREATE TABLE ended (state TEXT PRIMARY KEY, jobs INTEGER NOT NULL) STRICT;
    INSERT INTO ended SELECT state, count(*) FROM jobs WHERE state IN ('archived', 'failed', 'returned') GROUP BY state;
    CREATE TRIGGER job_came_ended AFTER INSERT ON jobs WHEN NEW.state IN ('archived', 'failed', 'returned') BEGIN
        INSERT INTO ended SELECT NEW.state, 0 WHERE NOT EXISTS (SELECT 1 FROM ended WHERE state = NEW.state);
        UPDATE ended SET jobs = jobs + 1 WHERE state = NEW.state;
    END;
    CREATE TRIGGER job_ended AFTER UPDATE OF state ON jobs WHEN NEW.state IN ('archived', 'failed', 'returned') AND OLD.state <> NEW.state BEGIN
        INSERT INTO ended SELECT NEW.state, 0 WHERE NOT EXISTS (SELECT 1 FROM ended WHERE state = NEW.state);
        UPDATE ended SET jobs = jobs + 1 WHERE state = NEW.state;
    END;
    CREATE TRIGGER job_was_taken_up AFTER UPDATE OF state ON jobs WHEN OLD.state IN ('archived', 'failed', 'returned') AND OLD.state <> NEW.state
        BEGIN UPDATE ended SET jobs = jobs - 1 WHERE state = OLD.state; END;
    -- What was charged, by the hour in which its submit began (UTC): what is summed up for people and for metrics.
    CREATE TABLE charged (
        hour INTEGER NOT NULL, -- since 1970
        kind TEXT NOT NULL,
        cost TEXT NOT NULL,
        purchases INTEGER NOT NULL,
        PRIMARY KEY (hour, kind, cost)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO charged
        SELECT CAST(at / 3600 AS INTEGER), kind, cost, count(*) FROM purchases WHERE outcome = 'charged' GROUP BY 1, 2, 3;
    CREATE TRIGGER charge_came AFTER INSERT ON purchases WHEN NEW.outcome = 'charged' BEGIN
        INSERT INTO charged SELECT CAST(NEW.at / 3600 AS INTEGER), NEW.kind, NEW.cost, 0 WHERE NOT EXISTS (
            SELECT 1 FROM charged
                WHERE hour = CAST(NEW.at / 3600 AS INTEGER) AND kind = NEW.kind AND cost = NEW.cost);
        UPDATE charged SET purchases = purchases + 1
            WHERE hour = CAST(NEW.at / 3600 AS INTEGER) AND kind = NEW.kind AND cost = NEW.cost;
    END;
    CREATE TRIGGER charge_changed AFTER UPDATE OF outcome, kind, cost, at ON purchases WHEN NEW.outcome = 'charged' BEGIN
        UPDATE charged SET purchases = purchases - 1 WHERE OLD.outcome = 'charged'
            AND hour = CAST(OLD.at / 3600 AS INTEGER) AND kind = OLD.kind AND cost = OLD.cost;
        INSERT INTO charged SELECT CAST(NEW.at / 3600 AS INTEGER), NEW.kind, NEW.cost, 0 WHERE NOT EXISTS (
            SELECT 1 FROM charged
                WHERE hour = CAST(NEW.at / 3600 AS INTEGER) AND kind = NEW.kind AND cost = NEW.cost);
        UPDATE charged SET purchases = purchases + 1
            WHERE hour = CAST(NEW.at / 3600 AS INTEGER) AND kind = NEW.kind AND cost = NEW.cost;
    END;
    CREATE INDEX purchases_charged ON purchases (id) WHERE outcome = 'charged';
    CREATE INDEX purchases_open ON purchases (id) WHERE outcome = 'open';
    -- What was ever bought, and which costs a balance has ever confirmed: a handful of each.
    CREATE TABLE articles (kind TEXT NOT NULL, listed TEXT NOT NULL, PRIMARY KEY (kind, listed)) STRICT, WITHOUT ROWID;
    INSERT INTO articles SELECT DISTINCT kind, listed FROM purchases;
    CREATE TRIGGER article_is_known AFTER INSERT ON purchases
        WHEN NOT EXISTS (SELECT 1 FROM articles WHERE kind = NEW.kind AND listed = NEW.listed)
        BEGIN INSERT INTO articles (kind, listed) VALUES (NEW.kind, NEW.listed); END;
    CREATE TRIGGER article_changes AFTER UPDATE OF kind, listed ON purchases
        WHEN NOT EXISTS (SELECT 1 FROM articles WHERE kind = NEW.kind AND listed = NEW.listed)
        BEGIN INSERT INTO articles (kind, listed) VALUES (NEW.kind, NEW.listed); END;
    CREATE TABLE confirmed_costs (cost TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
    INSERT INTO confirmed_costs SELECT DISTINCT cost FROM purchases WHERE outcome = 'charged' AND confirmed;
    CREATE TRIGGER cost_is_confirmed AFTER UPDATE OF confirmed ON purchases
        WHEN NEW.confirmed AND NEW.outcome = 'charged' AND NOT EXISTS (SELECT 1 FROM confirmed_costs WHERE cost = NEW.cost)
        BEGIN INSERT INTO confirmed_costs (cost) VALUES (NEW.cost); END;
    CREATE INDEX service_events_by_kind ON service_events (kind, id);
    CREATE INDEX service_events_by_time ON service_events (at);
    CREATE INDEX commands_by_verb ON commands (verb, id);
    """,
    """
    -- Lists of jobs are read page by page. What these hold of a job never changes but for its state when it has failed or gone back into the inbox.
    CREATE INDEX jobs_by_age ON jobs (created_at, id, top, folder, name, kind);
    CREATE INDEX jobs_by_top ON jobs (top, created_at, id, folder, name, kind);
    CREATE INDEX jobs_by_spelling ON jobs (name COLLATE NOCASE, id, top, folder, kind);
    CREATE INDEX jobs_not_delivered ON jobs (state, created_at, id) WHERE state IN ('failed', 'returned');
    """,
    """
    -- Lists of jobs are read by cost as well. It is read out of the document: no row of the past is written anew.
    CREATE INDEX jobs_by_cost ON jobs ($COST, id, top, folder, name, kind);
    -- What was charged in each hour for each folder, and what was spent in each block of $BLOCK purchases by their numbers: a
    -- reader sums up whole hours and blocks, however much was bought in a day.
    CREATE TABLE charged_by_top (
        hour INTEGER NOT NULL, -- since 1970
        top TEXT NOT NULL,
        cost TEXT NOT NULL,
        purchases INTEGER NOT NULL,
        PRIMARY KEY (hour, top, cost)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE spent_by_block (
        block INTEGER NOT NULL,
        top TEXT NOT NULL,
        kind TEXT NOT NULL,
        listed TEXT NOT NULL,
        cost TEXT NOT NULL,
        charged INTEGER NOT NULL CHECK (charged IN (0, 1)),
        confirmed INTEGER NOT NULL CHECK (confirmed IN (0, 1)),
        purchases INTEGER NOT NULL,
        PRIMARY KEY (block, top, kind, listed, cost, charged, confirmed)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO charged_by_top
        SELECT CAST(at / 3600 AS INTEGER), top, cost, count(*) FROM purchases WHERE outcome = 'charged' GROUP BY 1, 2, 3;
    INSERT INTO spent_by_block
        SELECT id / $BLOCK, top, kind, listed, cost, outcome = 'charged', confirmed, count(*) FROM purchases
            WHERE outcome <> 'free' GROUP BY 1, 2, 3, 4, 5, 6, 7;
    CREATE TRIGGER purchase_is_summed_1 AFTER INSERT ON purchases WHEN NEW.outcome <> 'free' BEGIN
        $COUNT_NEW
    END;
    CREATE TRIGGER purchase_is_summed_2 AFTER UPDATE OF outcome, cost, confirmed, top, kind, listed, at ON purchases BEGIN
        UPDATE charged_by_top SET purchases = purchases - 1 WHERE OLD.outcome = 'charged'
            AND (hour, top, cost) = (CAST(OLD.at / 3600 AS INTEGER), OLD.top, OLD.cost);
        UPDATE spent_by_block SET purchases = purchases - 1 WHERE OLD.outcome <> 'free'
            AND (block, top, kind, listed, cost, charged, confirmed)
            = (OLD.id / $BLOCK, OLD.top, OLD.kind, OLD.listed, OLD.cost, OLD.outcome = 'charged', OLD.confirmed);
        $COUNT_NEW
    END;
    """,
    """
    -- The details of an old job are moved to the archive file: its main points stay, and of its history what decides about money.
    ALTER TABLE jobs ADD COLUMN condensed_at REAL NOT NULL DEFAULT 0.0; -- UTC; 0: all of it is here
    CREATE INDEX jobs_to_condense ON jobs (changed_at) WHERE condensed_at = 0.0
        AND (state IN ('archived', 'returned') OR state = 'failed' AND place GLOB 'archive/*');
    CREATE TRIGGER condensed_jobs_have_ended BEFORE UPDATE OF condensed_at ON jobs
        WHEN NEW.condensed_at <> 0.0 AND NEW.state NOT IN ('archived', 'failed', 'returned')
        BEGIN SELECT RAISE (ABORT, 'a job that has not ended is kept whole'); END;
    CREATE TRIGGER condensed_jobs_stay BEFORE UPDATE OF state ON jobs WHEN OLD.condensed_at <> 0.0 AND NEW.state <> OLD.state
        BEGIN SELECT RAISE (ABORT, 'the details of this job are in the archive file'); END;
    DROP TRIGGER history_is_kept_2;
    CREATE TRIGGER history_is_kept_2 BEFORE DELETE ON events
        WHEN (SELECT condensed_at FROM jobs WHERE id = OLD.job_id) = 0.0
            OR OLD.action IN ('submitted', 'resolve') OR OLD.state = 'failing' OR OLD.code = 'task-failed'
            OR OLD.id = (SELECT max(id) FROM events WHERE job_id = OLD.job_id)
        BEGIN SELECT RAISE (ABORT, 'history is append-only'); END;
    -- The jobs whose files stay in the inbox are found without reading all others.
    CREATE INDEX jobs_with_originals ON jobs (created_at) WHERE instr(doc, '"originals":[[') > 0;
    """,
    """
    -- A journal has one root; a store in a database may have several.
    CREATE VIEW all_jobs AS SELECT * FROM jobs;
    """,
)

COST: Final = "CAST(coalesce(json_extract(CASE WHEN json_valid(doc) THEN doc END, '$.spent'), charges * 0.5) AS REAL)"
"""What a job cost, in credits; one of version 1 cost the price of a texture each time. By these words SQLite finds its index."""

BLOCK: Final = 300
"""So many purchases are summed up together. Neither changes: both are in migration 11."""

_COUNT_NEW: Final = f"""
        INSERT INTO charged_by_top SELECT CAST(NEW.at / 3600 AS INTEGER), NEW.top, NEW.cost, 0
            WHERE NEW.outcome = 'charged' AND NOT EXISTS (SELECT 1 FROM charged_by_top
                WHERE (hour, top, cost) = (CAST(NEW.at / 3600 AS INTEGER), NEW.top, NEW.cost));
        UPDATE charged_by_top SET purchases = purchases + 1 WHERE NEW.outcome = 'charged'
            AND (hour, top, cost) = (CAST(NEW.at / 3600 AS INTEGER), NEW.top, NEW.cost);
        INSERT INTO spent_by_block
            SELECT NEW.id / {BLOCK}, NEW.top, NEW.kind, NEW.listed, NEW.cost, NEW.outcome = 'charged', NEW.confirmed, 0
            WHERE NEW.outcome <> 'free' AND NOT EXISTS (SELECT 1 FROM spent_by_block
                WHERE (block, top, kind, listed, cost, charged, confirmed)
                = (NEW.id / {BLOCK}, NEW.top, NEW.kind, NEW.listed, NEW.cost, NEW.outcome = 'charged', NEW.confirmed));
        UPDATE spent_by_block SET purchases = purchases + 1 WHERE NEW.outcome <> 'free'
            AND (block, top, kind, listed, cost, charged, confirmed)
            = (NEW.id / {BLOCK}, NEW.top, NEW.kind, NEW.listed, NEW.cost, NEW.outcome = 'charged', NEW.confirmed);
"""  # noqa: S608 - a number; counts a purchase as it is now, where it is to be counted

VERSION: Final = len(_MIGRATIONS)
"""The schema that this program writes (SQLite's `user_version`)."""


class Migration(NamedTuple):
    """One step between two versions, to be made in one transaction: the script, then what SQL alone cannot do."""

    version: int  # that it leads to
    script: str
    go_on: Callable[[sqlite3.Connection], None]


def migrations(version: int) -> list[Migration]:
    """Return the steps that lead from a version to `VERSION`."""
    words = {
        "STATES": _listed(State),
        "ENDED": _listed(ENDED),
        "COST": COST,
        "BLOCK": str(BLOCK),
        "COUNT_NEW": _COUNT_NEW,
    }
    scripts = [Template(script).substitute(words) for script in _MIGRATIONS]
    steps = [Migration(number, script, _GO_ON.get(number, _nothing)) for number, script in enumerate(scripts, 1)]
    return steps[version:]


_REWRITES: Final = 3
"""The migration that rewrites documents; all others add tables and indexes."""


def room_for(steps: Sequence[Migration], size: int) -> int:
    """Return how much room on the disk the steps may need next to a journal of so many bytes: for the log, and for what is new.

    Measured on jobs of the benchmarks: what was added since version 1 is 15 % of the file, and each transaction is written twice.
    """
    return size * 5 // 4 if any(step.version == _REWRITES for step in steps) else size * 2 // 5


def _nothing(_db: sqlite3.Connection) -> None:
    """Leave it with the script."""


def _learn_states(db: sqlite3.Connection) -> None:
    """Let the table of jobs know the states of today.

    The checks of a table can only be changed where its text is kept (SQLite, Making Other Kinds Of Table Schema Changes, which
    allows it for checks: nothing that is stored changes).
    """
    [(text,)] = db.execute("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = 'jobs'")
    known = re.sub(r"CHECK \(state IN \([^)]*\)\)", f"CHECK (state IN ({_listed(State)}))", text)
    known = known.replace(
        "state IN ('claimed', 'failing', 'failed')",
        "state IN ('claimed', 'failing', 'failed', 'returning', 'returned')",
    )
    [(version,)] = db.execute("PRAGMA schema_version")
    db.execute("PRAGMA writable_schema = ON")
    db.execute("UPDATE sqlite_schema SET sql = ? WHERE type = 'table' AND name = 'jobs'", (known,))
    db.execute(f"PRAGMA schema_version = {version + 1}")
    db.execute("PRAGMA writable_schema = OFF")


_GO_ON: Final[Mapping[int, Callable[[sqlite3.Connection], None]]] = {3: bring_up_to_date, 8: _learn_states}


def legal_moves() -> list[tuple[str, str]]:
    """Return the moves that the state machine knows, and staying; the schema refuses all others."""
    moves = {(before.value, after.value) for (before, _), after in TABLE.items()}
    return sorted(moves | {(state.value, state.value) for state in State})


def _listed(states: type[State] | frozenset[State]) -> str:
    return ", ".join(f"'{state}'" for state in sorted(states))
