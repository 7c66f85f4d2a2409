BEGIN TRANSACTION;
CREATE TABLE commands (
        id INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        verb TEXT NOT NULL,
        arguments TEXT NOT NULL,
        answer TEXT
    ) STRICT;
CREATE TABLE events (
        id INTEGER PRIMARY KEY,
        job_id TEXT NOT NULL REFERENCES jobs (id),
        at REAL NOT NULL,
        action TEXT NOT NULL,
        state TEXT NOT NULL,
        message TEXT NOT NULL
    , code TEXT NOT NULL DEFAULT '') STRICT;
INSERT INTO "events" VALUES(1,'23dd242dc5c8',1800000003.0,'claimed','claimed','','');
INSERT INTO "events" VALUES(2,'23dd242dc5c8',1800000003.0,'staged','staged','','');
INSERT INTO "events" VALUES(3,'23dd242dc5c8',1800000003.0,'uploading','uploading','','');
INSERT INTO "events" VALUES(4,'23dd242dc5c8',1800000003.0,'submitting','submitting','','');
INSERT INTO "events" VALUES(5,'23dd242dc5c8',1800000003.0,'answered','submitting','HTTP status 201','');
INSERT INTO "events" VALUES(6,'23dd242dc5c8',1800000003.0,'submitted','submitted','','');
INSERT INTO "events" VALUES(7,'23dd242dc5c8',1800000005.0,'generated','generated','','');
INSERT INTO "events" VALUES(8,'23dd242dc5c8',1800000005.0,'downloaded','downloaded','','');
INSERT INTO "events" VALUES(9,'23dd242dc5c8',1800000005.0,'processed','processed','','');
INSERT INTO "events" VALUES(10,'23dd242dc5c8',1800000005.0,'delivered','delivered','','');
INSERT INTO "events" VALUES(11,'23dd242dc5c8',1800000005.0,'archived','archived','','');
INSERT INTO "events" VALUES(12,'c259ab4341fb',1800000009.0,'claimed','claimed','','');
INSERT INTO "events" VALUES(13,'c259ab4341fb',1800000009.0,'staged','staged','','');
INSERT INTO "events" VALUES(14,'c259ab4341fb',1800000009.0,'uploading','uploading','','');
INSERT INTO "events" VALUES(15,'c259ab4341fb',1800000009.0,'submitting','submitting','','');
INSERT INTO "events" VALUES(16,'c259ab4341fb',1800000009.0,'answered','submitting','HTTP status 201','');
INSERT INTO "events" VALUES(17,'c259ab4341fb',1800000009.0,'submitted','submitted','','');
INSERT INTO "events" VALUES(18,'c259ab4341fb',1800000010.5,'generated','generated','','');
INSERT INTO "events" VALUES(19,'c259ab4341fb',1800000010.5,'downloaded','downloaded','','');
INSERT INTO "events" VALUES(20,'c259ab4341fb',1800000010.5,'processed','processed','','');
INSERT INTO "events" VALUES(21,'c259ab4341fb',1800000010.5,'delivered','delivered','','');
INSERT INTO "events" VALUES(22,'c259ab4341fb',1800000010.5,'archived','archived','','');
INSERT INTO "events" VALUES(23,'e321ba3a37b3',1800000014.5,'claimed','claimed','','');
INSERT INTO "events" VALUES(24,'e321ba3a37b3',1800000014.5,'staged','staged','','');
INSERT INTO "events" VALUES(25,'e321ba3a37b3',1800000014.5,'uploading','uploading','','');
INSERT INTO "events" VALUES(26,'e321ba3a37b3',1800000014.5,'submitting','submitting','','');
INSERT INTO "events" VALUES(27,'e321ba3a37b3',1800000014.5,'held','held','The whole set was sent, but no answer came: the connection broke.','unknown-outcome');
INSERT INTO "events" VALUES(28,'1a4977fc5616',1800000025.5,'claimed','claimed','','');
INSERT INTO "events" VALUES(29,'1a4977fc5616',1800000025.5,'staged','staged','','');
INSERT INTO "events" VALUES(30,'1a4977fc5616',1800000025.5,'uploading','uploading','','');
INSERT INTO "events" VALUES(31,'1a4977fc5616',1800000025.5,'submitting','submitting','','');
INSERT INTO "events" VALUES(32,'1a4977fc5616',1800000025.5,'answered','submitting','HTTP status 429','');
INSERT INTO "events" VALUES(33,'1a4977fc5616',1800000025.5,'repeated','staged','The vendor asks for fewer calls (HTTP 429, TOO_MANY_REQUESTS: "Too many requests.").','throttled');
INSERT INTO "events" VALUES(34,'1a4977fc5616',1800000030.5,'uploading','uploading','','');
INSERT INTO "events" VALUES(35,'1a4977fc5616',1800000030.5,'submitting','submitting','','');
INSERT INTO "events" VALUES(36,'1a4977fc5616',1800000030.5,'answered','submitting','HTTP status 201','');
INSERT INTO "events" VALUES(37,'1a4977fc5616',1800000030.5,'submitted','submitted','','');
INSERT INTO "events" VALUES(38,'1a4977fc5616',1800000035.5,'generated','generated','','');
INSERT INTO "events" VALUES(39,'1a4977fc5616',1800000035.5,'downloaded','downloaded','','');
INSERT INTO "events" VALUES(40,'1a4977fc5616',1800000035.5,'processed','processed','','');
INSERT INTO "events" VALUES(41,'1a4977fc5616',1800000035.5,'delivered','delivered','','');
INSERT INTO "events" VALUES(42,'1a4977fc5616',1800000035.5,'archived','archived','','');
INSERT INTO "events" VALUES(43,'4705c12d396c',1800000040.5,'claimed','claimed','','');
INSERT INTO "events" VALUES(44,'4705c12d396c',1800000040.5,'staged','staged','','');
INSERT INTO "events" VALUES(45,'4705c12d396c',1800000040.5,'uploading','uploading','','');
INSERT INTO "events" VALUES(46,'4705c12d396c',1800000040.5,'submitting','submitting','','');
INSERT INTO "events" VALUES(47,'4705c12d396c',1800000040.5,'answered','submitting','HTTP status 201','');
INSERT INTO "events" VALUES(48,'4705c12d396c',1800000040.5,'submitted','submitted','','');
INSERT INTO "events" VALUES(49,'4705c12d396c',1800000042.0,'failing','failing','The vendor reports that the task failed; it gives no reason.','task-failed');
INSERT INTO "events" VALUES(50,'4705c12d396c',1800000042.0,'failed','failed','','');
INSERT INTO "events" VALUES(51,'05856802abc2',1800000046.0,'claimed','claimed','','');
INSERT INTO "events" VALUES(52,'05856802abc2',1800000046.0,'staged','staged','','');
INSERT INTO "events" VALUES(53,'05856802abc2',1800000046.0,'uploading','uploading','','');
CREATE TABLE "gate" (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        verdict TEXT NOT NULL CHECK (verdict IN ('held', 'passed'))
    ) STRICT;
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
CREATE TABLE jobs (
        id TEXT PRIMARY KEY,
        state TEXT NOT NULL CHECK (state IN ('archived', 'claimed', 'delivered', 'downloaded', 'failed', 'failing', 'generated', 'held', 'processed', 'staged', 'submitted', 'submitting', 'uploading')),
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
INSERT INTO "jobs" VALUES('23dd242dc5c8','archived','plain','','','v2:2b2a61b35a42afb66044095f908d0c4eabe6715587cff905e701662d18cd2ebf','glb/PBR/Basic',1.0,'979ce4c4-df59-4ea7-bef8-a76f82630e27',1,1800000003.0,1800000005.0,'outbox/plain','{"id":"23dd242dc5c8","name":"plain","folder":"","state":"archived","files":[{"role":"model","source":"inbox/plain.obj","signature":[154,1795967845455621563,2517155],"shared":false,"sha256":"65f9bf8739799d599586e3a194b80689299924a109e2b0ca8e1f529a34a296b4"},{"role":"image","source":"inbox/plain.png","signature":[95,1795967845467392323,2517168],"shared":false,"sha256":"2c32980150c5ea4495e6455990553ee3b6a92c0f120ff271f9faebe5b26e457f"}],"options":{},"created_at":1800000003.0,"again":false,"consent":"","fingerprint":"v2:2b2a61b35a42afb66044095f908d0c4eabe6715587cff905e701662d18cd2ebf","retries":0,"holds":0,"attempts":0,"not_before":1800000005.0,"deadline":null,"times":{"claimed":1800000003.0,"staged":1800000003.0,"uploading":1800000003.0,"submitting":1800000003.0,"submitted":1800000003.0,"generated":1800000005.0,"downloaded":1800000005.0,"processed":1800000005.0,"delivered":1800000005.0,"archived":1800000005.0},"task":{"uuid":"979ce4c4-df59-4ea7-bef8-a76f82630e27","subscription_key":"","submitted_at":1800000003.0,"credits":null},"answer":null,"charges":1,"spent":"0.5","price":"0.5","refused":0,"results":[{"name":"model.glb","original_name":"model.glb","size":2184,"sha256":"161de94e5b31fd0080e3686695a3692416403beba60a80a2c40919f151e710da"},{"name":"preview.webp","original_name":"preview.webp","size":5914,"sha256":"02ad23fdbaf0c1d9c67bd4eab8c4a20616d4fdbfd8887e296173883c9599243b"}],"processed":[],"facts":{},"plugins":{},"place":"outbox/plain","problem":null,"progress":"","working_at":0.0}');
INSERT INTO "jobs" VALUES('c259ab4341fb','archived','spelled','','','v2:252448cb79069379e836eef5bef4aefbdb4654a0d18873ccc6caafe5ea8ae4f7','glb/PBR/Basic',0.75,'9edf46bf-af36-44dd-9749-1cf7f433c679',1,1800000009.0,1800000010.5,'outbox/spelled','{"id":"c259ab4341fb","name":"spelled","folder":"","state":"archived","files":[{"role":"model","source":"inbox/spelled.obj","signature":[156,1795967846515721271,2517156],"shared":false,"sha256":"e8031c5e0756407096bda14dd8a9d0f32675bf5fc108374613af7a3e3b8a7f1e"},{"role":"image","source":"inbox/spelled.png","signature":[109,1795967846516356353,2517170],"shared":false,"sha256":"ea418dc866edf7a1b7788396c631e8b110d6d151dbfb50d28fcb34c131829aa3"},{"role":"sidecar","source":"inbox/spelled.toml","signature":[21,1795967846516489973,2517171],"shared":false,"sha256":"0453be13cca63548924ae044fe6175eea8a2c4ff754d532c2c3a0fc518e81964"}],"options":{"prompt":"worn  oak"},"created_at":1800000009.0,"again":false,"consent":"","fingerprint":"v2:252448cb79069379e836eef5bef4aefbdb4654a0d18873ccc6caafe5ea8ae4f7","retries":0,"holds":0,"attempts":0,"not_before":1800000010.5,"deadline":null,"times":{"claimed":1800000009.0,"staged":1800000009.0,"uploading":1800000009.0,"submitting":1800000009.0,"submitted":1800000009.0,"generated":1800000010.5,"downloaded":1800000010.5,"processed":1800000010.5,"delivered":1800000010.5,"archived":1800000010.5},"task":{"uuid":"9edf46bf-af36-44dd-9749-1cf7f433c679","subscription_key":"","submitted_at":1800000009.0,"credits":null},"answer":null,"charges":1,"spent":"0.5","price":"0.5","refused":0,"results":[{"name":"model.glb","original_name":"model.glb","size":2192,"sha256":"894c835a2fd12b41490d1e890c506bae71c39bc6562a75f476c25a059d87e3e1"},{"name":"preview.webp","original_name":"preview.webp","size":6060,"sha256":"587561d7adba9a57931012910a82f59c5eea8aab3700648ca903188bb34c2219"}],"processed":[],"facts":{},"plugins":{},"place":"outbox/spelled","problem":null,"progress":"","working_at":0.0}');
INSERT INTO "jobs" VALUES('e321ba3a37b3','held','held','','','v2:2b0d17859928f3e280fac43d05dd32c205290648f4c8bbd9e1de9955633f56e6','glb/PBR/Basic',NULL,NULL,0,1800000014.5,1800000014.5,'','{"id":"e321ba3a37b3","name":"held","folder":"","state":"held","files":[{"role":"model","source":"inbox/held.obj","signature":[153,1795967847436133425,2517157],"shared":false,"sha256":"0b511b4849e753cfc3f6fc87c84ac1abec77080e0ec6c9272d28eebf23e12fb9"},{"role":"image","source":"inbox/held.png","signature":[84,1795967847436763547,2517174],"shared":false,"sha256":"2e41c9f4062a7cb406923c4053dbc3fa5414d748af1629a984cd117d766a5dbf"}],"options":{},"created_at":1800000014.5,"again":false,"consent":"","fingerprint":"v2:2b0d17859928f3e280fac43d05dd32c205290648f4c8bbd9e1de9955633f56e6","retries":0,"holds":1,"attempts":0,"not_before":1800000014.5,"deadline":null,"times":{"claimed":1800000014.5,"staged":1800000014.5,"uploading":1800000014.5,"submitting":1800000014.5,"held":1800000014.5},"task":null,"answer":null,"charges":0,"spent":"0","price":"0.5","refused":0,"results":[],"processed":[],"facts":{},"plugins":{},"place":"","problem":{"code":"unknown-outcome","fault":"network","scope":"set","message":"The whole set was sent, but no answer came: the connection broke.","advice":"Look into the vendor''s account, then use `rodin-watchd resolve JOB`.","lane":null,"retry_after_seconds":null,"documented":false},"progress":"","working_at":0.0}');
INSERT INTO "jobs" VALUES('1a4977fc5616','archived','refused','','','v2:f24d73da9fb0553498c7aa75fa653f90d23209c12c6620e5eb548a2b40fd3c4e','glb/PBR/Basic',2.5,'15de3d7b-dbd9-4f68-a1da-95297552a389',1,1800000025.5,1800000035.5,'outbox/refused','{"id":"1a4977fc5616","name":"refused","folder":"","state":"archived","files":[{"role":"model","source":"inbox/refused.obj","signature":[156,1795967848313997465,2516075],"shared":false,"sha256":"a845993d2e8f5942f9c336c45d66343d4db32760fa81211544c40d549c5af4b1"},{"role":"image","source":"inbox/refused.png","signature":[109,1795967848314449292,2517176],"shared":false,"sha256":"4c5566287d7eeee75a9ed238a60be95dc3b3be0e0cbe04ee36e82c4ee027a3fc"}],"options":{},"created_at":1800000025.5,"again":false,"consent":"","fingerprint":"v2:f24d73da9fb0553498c7aa75fa653f90d23209c12c6620e5eb548a2b40fd3c4e","retries":0,"holds":0,"attempts":0,"not_before":1800000035.5,"deadline":null,"times":{"claimed":1800000025.5,"staged":1800000025.5,"uploading":1800000030.5,"submitting":1800000030.5,"submitted":1800000030.5,"generated":1800000035.5,"downloaded":1800000035.5,"processed":1800000035.5,"delivered":1800000035.5,"archived":1800000035.5},"task":{"uuid":"15de3d7b-dbd9-4f68-a1da-95297552a389","subscription_key":"","submitted_at":1800000030.5,"credits":null},"answer":null,"charges":1,"spent":"0.5","price":"0.5","refused":1,"results":[{"name":"model.glb","original_name":"model.glb","size":2196,"sha256":"76e0434b657e1bd9cab71d045957885b9d0847846477a5a8e6a3bd735fc37449"},{"name":"preview.webp","original_name":"preview.webp","size":6448,"sha256":"e568607781b6b22308351ba418646137b7727f7d65a9eebe37357ee7fecc9835"}],"processed":[],"facts":{},"plugins":{},"place":"outbox/refused","problem":null,"progress":"","working_at":0.0}');
INSERT INTO "jobs" VALUES('4705c12d396c','failed','broken','','','v2:e9d96449d54900bbaec446016cbd5a0a78749c709ff6fd92d8d7ca85c300a33e','glb/PBR/Basic',NULL,'2707ed59-5bc6-43b7-b941-7eb46869afc2',1,1800000040.5,1800000042.0,'failed/broken','{"id":"4705c12d396c","name":"broken","folder":"","state":"failed","files":[{"role":"model","source":"inbox/broken.obj","signature":[155,1795967849433209820,2517160],"shared":false,"sha256":"923eb314d246bf5f171eb1fd62afba20d7148f8e1011a1b228449da2f2f21df4"},{"role":"image","source":"inbox/broken.png","signature":[84,1795967849434263737,2517178],"shared":false,"sha256":"45dcfe3486161db4d688b689bd04413fabca79d07373c3306532d23ee9ef2dfe"},{"role":"sidecar","source":"inbox/broken.toml","signature":[13,1795967849434439747,2517179],"shared":false,"sha256":"f38a1ff1957a9855e856c6675409408869d7348de75510841665498790f6a37e"}],"options":{},"created_at":1800000040.5,"again":true,"consent":"file:f38a1ff1957a9855e856c6675409408869d7348de75510841665498790f6a37e","fingerprint":"v2:e9d96449d54900bbaec446016cbd5a0a78749c709ff6fd92d8d7ca85c300a33e","retries":0,"holds":0,"attempts":0,"not_before":1800000042.0,"deadline":null,"times":{"claimed":1800000040.5,"staged":1800000040.5,"uploading":1800000040.5,"submitting":1800000040.5,"submitted":1800000040.5,"failing":1800000042.0,"failed":1800000042.0},"task":{"uuid":"2707ed59-5bc6-43b7-b941-7eb46869afc2","subscription_key":"","submitted_at":1800000040.5,"credits":null},"answer":null,"charges":1,"spent":"0.5","price":"0.5","refused":0,"results":[],"processed":[],"facts":{},"plugins":{},"place":"failed/broken","problem":{"code":"task-failed","fault":"vendor","scope":"set","message":"The vendor reports that the task failed; it gives no reason.","advice":"To try once more, which costs again, drop the set with `again = true` in its TOML file; or ask the vendor''s support about the task.","lane":null,"retry_after_seconds":null,"documented":false},"progress":"","working_at":0.0}');
INSERT INTO "jobs" VALUES('05856802abc2','uploading','staged','','','v2:7d9392a824aa601c97d71f96c564edc819e668fc79fd06b57955cf5b2eb99bc7','glb/PBR/Basic',NULL,NULL,0,1800000046.0,1800000046.0,'','{"id":"05856802abc2","name":"staged","folder":"","state":"uploading","files":[{"role":"model","source":"inbox/staged.obj","signature":[155,1795967850327800717,2517163],"shared":false,"sha256":"1f55e3c5ed9d76ea03278fc08750dfc557aae079765b21642285ce3412f87c7c"},{"role":"image","source":"inbox/staged.png","signature":[84,1795967850328195798,2517181],"shared":false,"sha256":"a5b90b57bf971b4825969f097183a0b54e9357846ca05d35d235b78e6d3e806c"}],"options":{},"created_at":1800000046.0,"again":false,"consent":"","fingerprint":"v2:7d9392a824aa601c97d71f96c564edc819e668fc79fd06b57955cf5b2eb99bc7","retries":0,"holds":0,"attempts":0,"not_before":1800000046.0,"deadline":null,"times":{"claimed":1800000046.0,"staged":1800000046.0,"uploading":1800000046.0},"task":null,"answer":null,"charges":0,"spent":"0","price":"0.5","refused":0,"results":[],"processed":[],"facts":{},"plugins":{},"place":"","problem":null,"progress":"","working_at":0.0}');
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
INSERT INTO "meta" VALUES('written','89');
INSERT INTO "meta" VALUES('budget-day','[1799971200.0, 0, 0]');
INSERT INTO "meta" VALUES('page','{"notices": [], "waiting": [], "running": [{"name": "staged", "text": "taken, being checked", "job": "05856802abc2", "since_at": 1800000046.0}], "held": [{"name": "held", "text": "held for a person''s decision (hold 1): The whole set was sent, but no answer came: the connection broke. Cost: no credits for certain, and 0.5 credits more if the last submit was accepted. Look into the vendor''s account, then use `rodin-watchd resolve e321ba3a37b3 --hold 1`.", "job": "e321ba3a37b3", "since_at": 1800000014.5}], "recent": [{"name": "broken", "text": "FAILED: The vendor reports that the task failed; it gives no reason. Cost: 0.5 credits. See failed/broken/REPORT.txt", "job": "4705c12d396c", "since_at": 1800000042.0}, {"name": "refused", "text": "delivered to outbox/refused. Cost: 0.5 credits for certain, and 0.5 credits more if the vendor charged a submit that it refused.", "job": "1a4977fc5616", "since_at": 1800000035.5}, {"name": "spelled", "text": "delivered to outbox/spelled. Cost: 0.5 credits.", "job": "c259ab4341fb", "since_at": 1800000010.5}, {"name": "plain", "text": "delivered to outbox/plain. Cost: 0.5 credits.", "job": "23dd242dc5c8", "since_at": 1800000005.0}], "ignored": {}}');
INSERT INTO "meta" VALUES('balance','{"credits": "99", "at": 1800000030.5, "low": false, "exact": true, "vendor": "http://127.0.0.1:35743", "purchase": 4}');
INSERT INTO "meta" VALUES('account','"124f7e4ffd53bda4"');
INSERT INTO "meta" VALUES('baseline','{"balance": "99", "purchase": 4, "read_at": 1800000030.5, "sole": false}');
INSERT INTO "meta" VALUES('submits','6');
INSERT INTO "meta" VALUES('refusals-judged','4');
INSERT INTO "meta" VALUES('refusals-unjudged','[]');
CREATE TABLE moves (before TEXT NOT NULL, after TEXT NOT NULL, PRIMARY KEY (before, after)) STRICT;
INSERT INTO "moves" VALUES('archived','archived');
INSERT INTO "moves" VALUES('claimed','claimed');
INSERT INTO "moves" VALUES('claimed','failing');
INSERT INTO "moves" VALUES('claimed','staged');
INSERT INTO "moves" VALUES('claimed','submitted');
INSERT INTO "moves" VALUES('delivered','archived');
INSERT INTO "moves" VALUES('delivered','delivered');
INSERT INTO "moves" VALUES('downloaded','downloaded');
INSERT INTO "moves" VALUES('downloaded','failing');
INSERT INTO "moves" VALUES('downloaded','generated');
INSERT INTO "moves" VALUES('downloaded','processed');
INSERT INTO "moves" VALUES('failed','claimed');
INSERT INTO "moves" VALUES('failed','failed');
INSERT INTO "moves" VALUES('failing','failed');
INSERT INTO "moves" VALUES('failing','failing');
INSERT INTO "moves" VALUES('failing','held');
INSERT INTO "moves" VALUES('generated','downloaded');
INSERT INTO "moves" VALUES('generated','failing');
INSERT INTO "moves" VALUES('generated','generated');
INSERT INTO "moves" VALUES('held','failing');
INSERT INTO "moves" VALUES('held','held');
INSERT INTO "moves" VALUES('held','staged');
INSERT INTO "moves" VALUES('held','submitted');
INSERT INTO "moves" VALUES('processed','delivered');
INSERT INTO "moves" VALUES('processed','generated');
INSERT INTO "moves" VALUES('processed','processed');
INSERT INTO "moves" VALUES('staged','failing');
INSERT INTO "moves" VALUES('staged','held');
INSERT INTO "moves" VALUES('staged','staged');
INSERT INTO "moves" VALUES('staged','uploading');
INSERT INTO "moves" VALUES('submitted','failing');
INSERT INTO "moves" VALUES('submitted','generated');
INSERT INTO "moves" VALUES('submitted','submitted');
INSERT INTO "moves" VALUES('submitting','failing');
INSERT INTO "moves" VALUES('submitting','held');
INSERT INTO "moves" VALUES('submitting','staged');
INSERT INTO "moves" VALUES('submitting','submitted');
INSERT INTO "moves" VALUES('submitting','submitting');
INSERT INTO "moves" VALUES('uploading','failing');
INSERT INTO "moves" VALUES('uploading','held');
INSERT INTO "moves" VALUES('uploading','staged');
INSERT INTO "moves" VALUES('uploading','submitted');
INSERT INTO "moves" VALUES('uploading','submitting');
INSERT INTO "moves" VALUES('uploading','uploading');
CREATE TABLE "purchases" (
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
INSERT INTO "purchases" VALUES(1,'23dd242dc5c8','v2:2b2a61b35a42afb66044095f908d0c4eabe6715587cff905e701662d18cd2ebf','','',1800000003.0,'charged','0.5',0);
INSERT INTO "purchases" VALUES(2,'c259ab4341fb','v2:252448cb79069379e836eef5bef4aefbdb4654a0d18873ccc6caafe5ea8ae4f7','','',1800000009.0,'charged','0.5',0);
INSERT INTO "purchases" VALUES(3,'e321ba3a37b3','v2:2b0d17859928f3e280fac43d05dd32c205290648f4c8bbd9e1de9955633f56e6','','',1800000014.5,'open','0.5',0);
INSERT INTO "purchases" VALUES(4,'1a4977fc5616','v2:f24d73da9fb0553498c7aa75fa653f90d23209c12c6620e5eb548a2b40fd3c4e','','',1800000025.5,'refused','0.5',0);
INSERT INTO "purchases" VALUES(5,'1a4977fc5616','v2:f24d73da9fb0553498c7aa75fa653f90d23209c12c6620e5eb548a2b40fd3c4e','','',1800000030.5,'charged','0.5',0);
INSERT INTO "purchases" VALUES(6,'4705c12d396c','v2:e9d96449d54900bbaec446016cbd5a0a78749c709ff6fd92d8d7ca85c300a33e','file:f38a1ff1957a9855e856c6675409408869d7348de75510841665498790f6a37e','',1800000040.5,'charged','0.5',0);
INSERT INTO "purchases" VALUES(7,'05856802abc2','v2:7d9392a824aa601c97d71f96c564edc819e668fc79fd06b57955cf5b2eb99bc7','','',1800000046.0,'open','0.5',0);
CREATE TABLE service_events (
        id INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        kind TEXT NOT NULL,
        message TEXT NOT NULL
    , subject TEXT NOT NULL DEFAULT '', code TEXT NOT NULL DEFAULT '') STRICT;
INSERT INTO "service_events" VALUES(1,1800000014.5,'paused','submit: A submit got no answer that tells its outcome; the next one waits a while, and longer each time.','submit','unanswered-submit');
INSERT INTO "service_events" VALUES(2,1800000020.5,'resumed','submit: A submit got no answer that tells its outcome; the next one waits a while, and longer each time. That is over.','submit','unanswered-submit');
INSERT INTO "service_events" VALUES(3,1800000025.5,'paused','api: The vendor asks for fewer calls (HTTP 429, TOO_MANY_REQUESTS: "Too many requests.").','api','throttled');
INSERT INTO "service_events" VALUES(4,1800000030.5,'resumed','api: The vendor asks for fewer calls (HTTP 429, TOO_MANY_REQUESTS: "Too many requests."). That is over.','api','throttled');
INSERT INTO "service_events" VALUES(5,1800000030.5,'inquiry-ended','The balance cannot tell: the balance was 100.5 credits before and is 99 credits after 1 credit that are known.','balance','');
CREATE UNIQUE INDEX one_live_job_for_each_content ON jobs (fingerprint)
        WHERE fingerprint <> '' AND state NOT IN ('archived', 'failed');
CREATE INDEX jobs_by_state ON jobs (state, changed_at);
CREATE INDEX jobs_by_content ON jobs (fingerprint) WHERE fingerprint <> '';
CREATE INDEX jobs_by_task ON jobs (task_uuid) WHERE task_uuid IS NOT NULL;
CREATE INDEX jobs_by_kind ON jobs (kind, created_at) WHERE vendor_seconds IS NOT NULL;
CREATE INDEX events_by_job ON events (job_id, id);
CREATE INDEX hook_runs_due ON hook_runs (not_before) WHERE outcome = 'due';
CREATE INDEX hook_runs_by_job ON hook_runs (job_id);
CREATE INDEX commands_open ON commands (id) WHERE answer IS NULL;
CREATE TRIGGER legal_moves_only BEFORE UPDATE OF state ON jobs
        WHEN NOT EXISTS (SELECT 1 FROM moves WHERE before = OLD.state AND after = NEW.state)
        BEGIN SELECT RAISE (ABORT, 'not a legal move'); END;
CREATE TRIGGER costs_are_kept BEFORE UPDATE OF charges ON jobs WHEN NEW.charges < OLD.charges
        BEGIN SELECT RAISE (ABORT, 'what was paid stays paid'); END;
CREATE TRIGGER history_is_kept_1 BEFORE UPDATE ON events BEGIN SELECT RAISE (ABORT, 'history is append-only'); END;
CREATE TRIGGER history_is_kept_2 BEFORE DELETE ON events BEGIN SELECT RAISE (ABORT, 'history is append-only'); END;
CREATE TRIGGER history_is_kept_4 BEFORE DELETE ON service_events
        BEGIN SELECT RAISE (ABORT, 'history is append-only'); END;
CREATE TRIGGER jobs_are_kept BEFORE DELETE ON jobs BEGIN SELECT RAISE (ABORT, 'jobs are never deleted'); END;
CREATE UNIQUE INDEX one_open_purchase_for_each_job ON purchases (job_id) WHERE outcome = 'open';
CREATE INDEX purchases_by_job ON purchases (job_id);
CREATE INDEX purchases_by_content ON purchases (fingerprint) WHERE outcome <> 'free';
CREATE INDEX purchases_by_time ON purchases (at, cost) WHERE outcome = 'charged';
CREATE INDEX purchases_refused ON purchases (id) WHERE outcome = 'refused';
CREATE TRIGGER purchase_begins AFTER UPDATE OF state ON jobs
        WHEN NEW.state = 'uploading' AND json_extract(NEW.doc, '$.answer') IS NULL BEGIN
        UPDATE purchases SET outcome = 'free' WHERE job_id = NEW.id AND outcome = 'open';
        INSERT INTO purchases (job_id, fingerprint, consent, top, at, outcome, cost) VALUES (NEW.id, NEW.fingerprint,
            coalesce(json_extract(NEW.doc, '$.consent'), ''), NEW.top, NEW.changed_at, 'open',
            coalesce(json_extract(NEW.doc, '$.price'), '0.5'));
    END;
CREATE TRIGGER purchase_is_charged AFTER UPDATE OF charges ON jobs WHEN NEW.charges > OLD.charges
        BEGIN UPDATE purchases SET outcome = 'charged', told = OLD.state = 'held',
            cost = coalesce(json_extract(NEW.doc, '$.task.credits'), cost)
            WHERE id = (SELECT id FROM purchases WHERE job_id = NEW.id AND outcome <> 'charged'
                ORDER BY outcome = 'open' DESC, outcome IN ('refused', 'unknown') DESC, id DESC LIMIT 1); END;
CREATE TRIGGER purchase_was_free AFTER UPDATE OF state ON jobs
        WHEN OLD.state = 'held' AND NEW.state = 'staged' OR OLD.state = 'uploading' AND NEW.state IN ('staged', 'failing')
            AND json_extract(OLD.doc, '$.answer') IS NULL
        BEGIN UPDATE purchases SET outcome = 'free', told = OLD.state = 'held'
            WHERE job_id = NEW.id AND outcome = 'open'; END;
CREATE TRIGGER purchase_was_refused AFTER UPDATE OF state ON jobs
        WHEN NEW.state IN ('staged', 'failing') AND (OLD.state = 'submitting'
            OR OLD.state = 'uploading' AND json_extract(OLD.doc, '$.answer') IS NOT NULL)
        BEGIN UPDATE purchases SET outcome = 'refused' WHERE job_id = NEW.id AND outcome = 'open'; END;
CREATE TRIGGER purchase_stays_unknown AFTER UPDATE OF state ON jobs WHEN OLD.state = 'held' AND NEW.state = 'failing'
        BEGIN UPDATE purchases SET outcome = 'unknown' WHERE job_id = NEW.id AND outcome = 'open'; END;
CREATE TRIGGER purchases_are_kept_1 BEFORE DELETE ON purchases
        BEGIN SELECT RAISE (ABORT, 'purchases are never deleted'); END;
CREATE TRIGGER purchases_are_kept_2 BEFORE UPDATE OF outcome ON purchases
        WHEN OLD.outcome = 'charged' AND NEW.outcome <> 'charged'
        BEGIN SELECT RAISE (ABORT, 'what was paid stays paid'); END;
CREATE TRIGGER history_is_kept_3 BEFORE UPDATE ON service_events
        BEGIN SELECT RAISE (ABORT, 'history is append-only'); END;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('gate',0);
COMMIT;
PRAGMA user_version = 2;
