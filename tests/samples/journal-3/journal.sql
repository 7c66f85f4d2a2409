BEGIN TRANSACTION;
CREATE TABLE commands (
        id INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        verb TEXT NOT NULL,
        arguments TEXT NOT NULL,
        answer TEXT
    ) STRICT;
INSERT INTO "commands" VALUES(1,53.0,'retry','{"job":"paid-anew","pay_again":true}','{"ok": true, "message": "Job ed8791119677 is claimed now."}');
INSERT INTO "commands" VALUES(2,60.5,'resolve','{"job":"given-up","how":"give-up"}','{"ok": true, "message": "Job da548db6ca7c is failing now."}');
CREATE TABLE events (
        id INTEGER PRIMARY KEY,
        job_id TEXT NOT NULL REFERENCES jobs (id),
        at REAL NOT NULL,
        action TEXT NOT NULL,
        state TEXT NOT NULL,
        message TEXT NOT NULL
    , code TEXT NOT NULL DEFAULT '') STRICT;
INSERT INTO "events" VALUES(1,'26149f2d3b52',1800000003.0,'claimed','claimed','','');
INSERT INTO "events" VALUES(2,'26149f2d3b52',1800000003.0,'staged','staged','','');
INSERT INTO "events" VALUES(3,'26149f2d3b52',1800000003.0,'uploading','uploading','','');
INSERT INTO "events" VALUES(4,'26149f2d3b52',1800000003.0,'submitting','submitting','','');
INSERT INTO "events" VALUES(5,'26149f2d3b52',1800000003.0,'answered','submitting','HTTP status 201','');
INSERT INTO "events" VALUES(6,'26149f2d3b52',1800000003.0,'submitted','submitted','','');
INSERT INTO "events" VALUES(7,'26149f2d3b52',1800000005.0,'generated','generated','','');
INSERT INTO "events" VALUES(8,'26149f2d3b52',1800000005.0,'downloaded','downloaded','','');
INSERT INTO "events" VALUES(9,'26149f2d3b52',1800000005.0,'processed','processed','','');
INSERT INTO "events" VALUES(10,'26149f2d3b52',1800000005.0,'delivered','delivered','','');
INSERT INTO "events" VALUES(11,'26149f2d3b52',1800000005.0,'archived','archived','','');
INSERT INTO "events" VALUES(12,'2d56d32bc322',1800000009.0,'claimed','claimed','','');
INSERT INTO "events" VALUES(13,'2d56d32bc322',1800000009.0,'staged','staged','','');
INSERT INTO "events" VALUES(14,'2d56d32bc322',1800000009.0,'uploading','uploading','','');
INSERT INTO "events" VALUES(15,'2d56d32bc322',1800000009.0,'submitting','submitting','','');
INSERT INTO "events" VALUES(16,'2d56d32bc322',1800000009.0,'answered','submitting','HTTP status 201','');
INSERT INTO "events" VALUES(17,'2d56d32bc322',1800000009.0,'submitted','submitted','','');
INSERT INTO "events" VALUES(18,'2d56d32bc322',1800000010.5,'generated','generated','','');
INSERT INTO "events" VALUES(19,'2d56d32bc322',1800000010.5,'downloaded','downloaded','','');
INSERT INTO "events" VALUES(20,'2d56d32bc322',1800000010.5,'processed','processed','','');
INSERT INTO "events" VALUES(21,'2d56d32bc322',1800000010.5,'delivered','delivered','','');
INSERT INTO "events" VALUES(22,'2d56d32bc322',1800000010.5,'archived','archived','','');
INSERT INTO "events" VALUES(23,'95fc78436f3a',1800000014.5,'claimed','claimed','','');
INSERT INTO "events" VALUES(24,'95fc78436f3a',1800000014.5,'staged','staged','','');
INSERT INTO "events" VALUES(25,'95fc78436f3a',1800000014.5,'uploading','uploading','','');
INSERT INTO "events" VALUES(26,'95fc78436f3a',1800000014.5,'submitting','submitting','','');
INSERT INTO "events" VALUES(27,'95fc78436f3a',1800000014.5,'answered','submitting','HTTP status 201','');
INSERT INTO "events" VALUES(28,'95fc78436f3a',1800000014.5,'submitted','submitted','','');
INSERT INTO "events" VALUES(29,'95fc78436f3a',1800000016.0,'generated','generated','','');
INSERT INTO "events" VALUES(30,'95fc78436f3a',1800000016.0,'downloaded','downloaded','','');
INSERT INTO "events" VALUES(31,'95fc78436f3a',1800000016.0,'processed','processed','','');
INSERT INTO "events" VALUES(32,'95fc78436f3a',1800000016.0,'delivered','delivered','','');
INSERT INTO "events" VALUES(33,'95fc78436f3a',1800000016.0,'archived','archived','','');
INSERT INTO "events" VALUES(34,'24136e417cd8',1800000020.0,'claimed','claimed','','');
INSERT INTO "events" VALUES(35,'24136e417cd8',1800000020.0,'staged','staged','','');
INSERT INTO "events" VALUES(36,'24136e417cd8',1800000020.0,'uploading','uploading','','');
INSERT INTO "events" VALUES(37,'24136e417cd8',1800000020.0,'submitting','submitting','','');
INSERT INTO "events" VALUES(38,'24136e417cd8',1800000020.0,'answered','submitting','HTTP status 201','');
INSERT INTO "events" VALUES(39,'24136e417cd8',1800000020.0,'submitted','submitted','','');
INSERT INTO "events" VALUES(40,'24136e417cd8',1800000022.0,'generated','generated','','');
INSERT INTO "events" VALUES(41,'24136e417cd8',1800000022.0,'downloaded','downloaded','','');
INSERT INTO "events" VALUES(42,'24136e417cd8',1800000022.0,'processed','processed','','');
INSERT INTO "events" VALUES(43,'24136e417cd8',1800000022.0,'delivered','delivered','','');
INSERT INTO "events" VALUES(44,'24136e417cd8',1800000022.0,'archived','archived','','');
INSERT INTO "events" VALUES(45,'7dea6ec158ec',1800000026.0,'claimed','claimed','','');
INSERT INTO "events" VALUES(46,'7dea6ec158ec',1800000026.0,'staged','staged','','');
INSERT INTO "events" VALUES(47,'7dea6ec158ec',1800000026.0,'uploading','uploading','','');
INSERT INTO "events" VALUES(48,'7dea6ec158ec',1800000026.0,'submitting','submitting','','');
INSERT INTO "events" VALUES(49,'7dea6ec158ec',1800000026.0,'answered','submitting','HTTP status 201','');
INSERT INTO "events" VALUES(50,'7dea6ec158ec',1800000026.0,'submitted','submitted','','');
INSERT INTO "events" VALUES(51,'7dea6ec158ec',1800000027.5,'generated','generated','','');
INSERT INTO "events" VALUES(52,'7dea6ec158ec',1800000027.5,'downloaded','downloaded','','');
INSERT INTO "events" VALUES(53,'7dea6ec158ec',1800000027.5,'processed','processed','','');
INSERT INTO "events" VALUES(54,'7dea6ec158ec',1800000027.5,'delivered','delivered','','');
INSERT INTO "events" VALUES(55,'7dea6ec158ec',1800000027.5,'archived','archived','','');
INSERT INTO "events" VALUES(56,'17fa840fd449',1800000031.5,'claimed','claimed','','');
INSERT INTO "events" VALUES(57,'17fa840fd449',1800000031.5,'staged','staged','','');
INSERT INTO "events" VALUES(58,'17fa840fd449',1800000031.5,'uploading','uploading','','');
INSERT INTO "events" VALUES(59,'17fa840fd449',1800000031.5,'submitting','submitting','','');
INSERT INTO "events" VALUES(60,'17fa840fd449',1800000031.5,'answered','submitting','HTTP status 201','');
INSERT INTO "events" VALUES(61,'17fa840fd449',1800000031.5,'submitted','submitted','','');
INSERT INTO "events" VALUES(62,'17fa840fd449',1800000033.0,'generated','generated','','');
INSERT INTO "events" VALUES(63,'17fa840fd449',1800000033.0,'downloaded','downloaded','','');
INSERT INTO "events" VALUES(64,'17fa840fd449',1800000033.0,'processed','processed','','');
INSERT INTO "events" VALUES(65,'17fa840fd449',1800000033.0,'delivered','delivered','','');
INSERT INTO "events" VALUES(66,'17fa840fd449',1800000033.0,'archived','archived','','');
INSERT INTO "events" VALUES(67,'910930710adc',1800000037.0,'claimed','claimed','','');
INSERT INTO "events" VALUES(68,'910930710adc',1800000037.0,'failing','failing','The same model, image and options were delivered before: outbox/plain (job 26149f2d3b52).','');
INSERT INTO "events" VALUES(69,'910930710adc',1800000037.0,'failed','failed','','');
INSERT INTO "events" VALUES(70,'fb6bcfef235c',1800000041.0,'claimed','claimed','','');
INSERT INTO "events" VALUES(71,'fb6bcfef235c',1800000041.0,'staged','staged','','');
INSERT INTO "events" VALUES(72,'fb6bcfef235c',1800000041.0,'uploading','uploading','','');
INSERT INTO "events" VALUES(73,'fb6bcfef235c',1800000041.0,'submitting','submitting','','');
INSERT INTO "events" VALUES(74,'fb6bcfef235c',1800000041.0,'answered','submitting','HTTP status 201','');
INSERT INTO "events" VALUES(75,'fb6bcfef235c',1800000041.0,'failing','failing','The vendor refused the set (HTTP 201, INVALID_REQUEST: "INVALID_REQUEST: something went wrong.").','');
INSERT INTO "events" VALUES(76,'fb6bcfef235c',1800000041.0,'failed','failed','','');
INSERT INTO "events" VALUES(77,'786ed9a76dea',1800000045.0,'claimed','claimed','','');
INSERT INTO "events" VALUES(78,'786ed9a76dea',1800000045.0,'staged','staged','','');
INSERT INTO "events" VALUES(79,'786ed9a76dea',1800000045.0,'uploading','uploading','','');
INSERT INTO "events" VALUES(80,'786ed9a76dea',1800000045.0,'submitting','submitting','','');
INSERT INTO "events" VALUES(81,'786ed9a76dea',1800000045.0,'answered','submitting','HTTP status 201','');
INSERT INTO "events" VALUES(82,'786ed9a76dea',1800000045.0,'submitted','submitted','','');
INSERT INTO "events" VALUES(83,'786ed9a76dea',1800000046.5,'failing','failing','The vendor reports that the task failed; it gives no reason.','');
INSERT INTO "events" VALUES(84,'786ed9a76dea',1800000046.5,'failed','failed','','');
INSERT INTO "events" VALUES(85,'ed8791119677',1800000050.5,'claimed','claimed','','');
INSERT INTO "events" VALUES(86,'ed8791119677',1800000050.5,'staged','staged','','');
INSERT INTO "events" VALUES(87,'ed8791119677',1800000050.5,'uploading','uploading','','');
INSERT INTO "events" VALUES(88,'ed8791119677',1800000050.5,'submitting','submitting','','');
INSERT INTO "events" VALUES(89,'ed8791119677',1800000050.5,'answered','submitting','HTTP status 201','');
INSERT INTO "events" VALUES(90,'ed8791119677',1800000050.5,'submitted','submitted','','');
INSERT INTO "events" VALUES(91,'ed8791119677',1800000052.0,'failing','failing','The vendor reports that the task failed; it gives no reason.','');
INSERT INTO "events" VALUES(92,'ed8791119677',1800000052.0,'failed','failed','','');
INSERT INTO "events" VALUES(93,'ed8791119677',1800000053.0,'retry','claimed','to be paid anew; the task before was 2bfa51cd-3428-4d7d-b21b-d51f7b419989','');
INSERT INTO "events" VALUES(94,'ed8791119677',1800000054.0,'staged','staged','','');
INSERT INTO "events" VALUES(95,'ed8791119677',1800000054.0,'uploading','uploading','','');
INSERT INTO "events" VALUES(96,'ed8791119677',1800000054.0,'submitting','submitting','','');
INSERT INTO "events" VALUES(97,'ed8791119677',1800000054.0,'answered','submitting','HTTP status 201','');
INSERT INTO "events" VALUES(98,'ed8791119677',1800000054.0,'submitted','submitted','','');
INSERT INTO "events" VALUES(99,'ed8791119677',1800000055.5,'generated','generated','','');
INSERT INTO "events" VALUES(100,'ed8791119677',1800000055.5,'downloaded','downloaded','','');
INSERT INTO "events" VALUES(101,'ed8791119677',1800000055.5,'processed','processed','','');
INSERT INTO "events" VALUES(102,'ed8791119677',1800000055.5,'delivered','delivered','','');
INSERT INTO "events" VALUES(103,'ed8791119677',1800000055.5,'archived','archived','','');
INSERT INTO "events" VALUES(104,'da548db6ca7c',1800000059.5,'claimed','claimed','','');
INSERT INTO "events" VALUES(105,'da548db6ca7c',1800000059.5,'staged','staged','','');
INSERT INTO "events" VALUES(106,'da548db6ca7c',1800000059.5,'uploading','uploading','','');
INSERT INTO "events" VALUES(107,'da548db6ca7c',1800000059.5,'submitting','submitting','','');
INSERT INTO "events" VALUES(108,'da548db6ca7c',1800000059.5,'held','held','The whole set was sent, but no answer came: the connection broke.','');
INSERT INTO "events" VALUES(109,'da548db6ca7c',1800000060.5,'resolve','failing','','');
INSERT INTO "events" VALUES(110,'da548db6ca7c',1800000061.5,'failed','failed','','');
INSERT INTO "events" VALUES(111,'4f6c91b66f94',1800000065.5,'claimed','claimed','','');
INSERT INTO "events" VALUES(112,'4f6c91b66f94',1800000065.5,'staged','staged','','');
INSERT INTO "events" VALUES(113,'4f6c91b66f94',1800000065.5,'uploading','uploading','','');
INSERT INTO "events" VALUES(114,'4f6c91b66f94',1800000065.5,'submitting','submitting','','');
INSERT INTO "events" VALUES(115,'4f6c91b66f94',1800000065.5,'held','held','The whole set was sent, but no answer came: the connection broke.','');
INSERT INTO "events" VALUES(116,'633cb9012729',1800000069.5,'failing','failing','misspelt.toml line 1: sed: unknown key; did you mean seed?','');
INSERT INTO "events" VALUES(117,'633cb9012729',1800000069.5,'failed','failed','','');
INSERT INTO "events" VALUES(118,'795c1c86c496',1800000073.5,'claimed','claimed','','');
INSERT INTO "events" VALUES(119,'795c1c86c496',1800000073.5,'staged','staged','','');
INSERT INTO "events" VALUES(120,'795c1c86c496',1800000073.5,'uploading','uploading','','');
INSERT INTO "events" VALUES(121,'795c1c86c496',1800000073.5,'submitting','submitting','','');
INSERT INTO "events" VALUES(122,'795c1c86c496',1800000073.5,'answered','submitting','HTTP status 201','');
INSERT INTO "events" VALUES(123,'795c1c86c496',1800000073.5,'submitted','submitted','','');
INSERT INTO "events" VALUES(124,'d79d3458a588',1800000073.5,'claimed','claimed','','');
INSERT INTO "events" VALUES(125,'8d906d61f92c',1800000073.5,'claimed','claimed','','');
INSERT INTO "events" VALUES(126,'8d906d61f92c',1800000073.5,'staged','staged','','');
INSERT INTO "events" VALUES(127,'8f293e2c0d74',1800000073.5,'claimed','claimed','','');
INSERT INTO "events" VALUES(128,'8f293e2c0d74',1800000073.5,'staged','staged','','');
INSERT INTO "events" VALUES(129,'39e15e2c9d48',1800000073.5,'claimed','claimed','','');
INSERT INTO "events" VALUES(130,'39e15e2c9d48',1800000073.5,'staged','staged','','');
INSERT INTO "events" VALUES(131,'39e15e2c9d48',1800000073.5,'uploading','uploading','','');
INSERT INTO "events" VALUES(132,'d4df985a9f58',1800000073.5,'claimed','claimed','','');
INSERT INTO "events" VALUES(133,'d4df985a9f58',1800000073.5,'staged','staged','','');
INSERT INTO "events" VALUES(134,'d4df985a9f58',1800000073.5,'uploading','uploading','','');
INSERT INTO "events" VALUES(135,'d4df985a9f58',1800000073.5,'submitting','submitting','','');
INSERT INTO "events" VALUES(136,'e0cb800a5ccd',1800000073.5,'claimed','claimed','','');
INSERT INTO "events" VALUES(137,'e0cb800a5ccd',1800000073.5,'staged','staged','','');
INSERT INTO "events" VALUES(138,'e0cb800a5ccd',1800000073.5,'uploading','uploading','','');
INSERT INTO "events" VALUES(139,'e0cb800a5ccd',1800000073.5,'submitting','submitting','','');
INSERT INTO "events" VALUES(140,'e0cb800a5ccd',1800000073.5,'submitted','submitted','','');
INSERT INTO "events" VALUES(141,'e0cb800a5ccd',1800000073.5,'generated','generated','','');
INSERT INTO "events" VALUES(142,'b7a8a844a613',1800000073.5,'claimed','claimed','','');
INSERT INTO "events" VALUES(143,'b7a8a844a613',1800000073.5,'staged','staged','','');
INSERT INTO "events" VALUES(144,'b7a8a844a613',1800000073.5,'uploading','uploading','','');
INSERT INTO "events" VALUES(145,'b7a8a844a613',1800000073.5,'submitting','submitting','','');
INSERT INTO "events" VALUES(146,'b7a8a844a613',1800000073.5,'submitted','submitted','','');
INSERT INTO "events" VALUES(147,'b7a8a844a613',1800000073.5,'generated','generated','','');
INSERT INTO "events" VALUES(148,'b7a8a844a613',1800000073.5,'downloaded','downloaded','','');
INSERT INTO "events" VALUES(149,'58190ffabf98',1800000073.5,'claimed','claimed','','');
INSERT INTO "events" VALUES(150,'58190ffabf98',1800000073.5,'staged','staged','','');
INSERT INTO "events" VALUES(151,'58190ffabf98',1800000073.5,'uploading','uploading','','');
INSERT INTO "events" VALUES(152,'58190ffabf98',1800000073.5,'submitting','submitting','','');
INSERT INTO "events" VALUES(153,'58190ffabf98',1800000073.5,'submitted','submitted','','');
INSERT INTO "events" VALUES(154,'58190ffabf98',1800000073.5,'generated','generated','','');
INSERT INTO "events" VALUES(155,'58190ffabf98',1800000073.5,'downloaded','downloaded','','');
INSERT INTO "events" VALUES(156,'58190ffabf98',1800000073.5,'processed','processed','','');
INSERT INTO "events" VALUES(157,'373e0712c83c',1800000073.5,'claimed','claimed','','');
INSERT INTO "events" VALUES(158,'373e0712c83c',1800000073.5,'staged','staged','','');
INSERT INTO "events" VALUES(159,'373e0712c83c',1800000073.5,'uploading','uploading','','');
INSERT INTO "events" VALUES(160,'373e0712c83c',1800000073.5,'submitting','submitting','','');
INSERT INTO "events" VALUES(161,'373e0712c83c',1800000073.5,'submitted','submitted','','');
INSERT INTO "events" VALUES(162,'373e0712c83c',1800000073.5,'generated','generated','','');
INSERT INTO "events" VALUES(163,'373e0712c83c',1800000073.5,'downloaded','downloaded','','');
INSERT INTO "events" VALUES(164,'373e0712c83c',1800000073.5,'processed','processed','','');
INSERT INTO "events" VALUES(165,'373e0712c83c',1800000073.5,'delivered','delivered','','');
INSERT INTO "events" VALUES(166,'0967115f2813',1800000073.5,'claimed','claimed','','');
INSERT INTO "events" VALUES(167,'0967115f2813',1800000073.5,'staged','staged','','');
INSERT INTO "events" VALUES(168,'5a3e5a3e5a3e',1800000073.5,'claimed','claimed','','');
INSERT INTO "events" VALUES(169,'5a3e5a3e5a3e',1800000073.5,'staged','staged','','');
INSERT INTO "events" VALUES(170,'5f76b3ec626e',1800000073.5,'claimed','claimed','','');
INSERT INTO "events" VALUES(171,'5f76b3ec626e',1800000073.5,'staged','staged','','');
INSERT INTO "events" VALUES(172,'5f76b3ec626e',1800000073.5,'failing','failing','','');
CREATE TABLE "gate" (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        verdict TEXT NOT NULL CHECK (verdict IN ('held', 'passed'))
    ) STRICT;
INSERT INTO "gate" VALUES(1,'"held-set"','held');
INSERT INTO "gate" VALUES(2,'"passed-set"','passed');
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
INSERT INTO "jobs" VALUES('26149f2d3b52','archived','plain','','','97f78a19dafa6c37d898b9665bc5a308c378323a7ac0a33b85a470824a87f390','glb/PBR/Basic',1.0,'6945ea07-2f39-44cb-8d62-778604a3c68f',1,1800000003.0,1800000005.0,'outbox/plain','{"id":"26149f2d3b52","name":"plain","folder":"","state":"archived","files":[{"role":"model","source":"inbox/plain.obj","signature":[154,1795946721449970054,2656633],"shared":false,"sha256":"65f9bf8739799d599586e3a194b80689299924a109e2b0ca8e1f529a34a296b4"},{"role":"image","source":"inbox/plain.png","signature":[95,1795946721458848258,2656655],"shared":false,"sha256":"2c32980150c5ea4495e6455990553ee3b6a92c0f120ff271f9faebe5b26e457f"}],"options":{},"created_at":1800000003.0,"again":false,"fingerprint":"97f78a19dafa6c37d898b9665bc5a308c378323a7ac0a33b85a470824a87f390","retries":0,"attempts":0,"not_before":1800000005.0,"deadline":null,"times":{"claimed":1800000003.0,"staged":1800000003.0,"uploading":1800000003.0,"submitting":1800000003.0,"submitted":1800000003.0,"generated":1800000005.0,"downloaded":1800000005.0,"processed":1800000005.0,"delivered":1800000005.0,"archived":1800000005.0},"task":{"uuid":"6945ea07-2f39-44cb-8d62-778604a3c68f","subscription_key":"","submitted_at":1800000003.0},"answer":null,"charges":1,"results":[{"name":"model.glb","original_name":"model.glb","size":2184,"sha256":"161de94e5b31fd0080e3686695a3692416403beba60a80a2c40919f151e710da"},{"name":"preview.webp","original_name":"preview.webp","size":5914,"sha256":"02ad23fdbaf0c1d9c67bd4eab8c4a20616d4fdbfd8887e296173883c9599243b"}],"processed":[],"facts":{},"plugins":{},"place":"outbox/plain","problem":null,"progress":"","working_at":0.0}');
INSERT INTO "jobs" VALUES('2d56d32bc322','archived','spelled','','','ff6d48a4936a54208b4ff835ef0b63b3b13de79f5fe6bfc6fe095915809d73d4','glb/PBR/Basic',0.75,'8cee7d7e-c05d-4ecc-b617-4c807610d0b9',1,1800000009.0,1800000010.5,'outbox/spelled','{"id":"2d56d32bc322","name":"spelled","folder":"","state":"archived","files":[{"role":"model","source":"inbox/spelled.obj","signature":[156,1795946723196129464,2659142],"shared":false,"sha256":"e8031c5e0756407096bda14dd8a9d0f32675bf5fc108374613af7a3e3b8a7f1e"},{"role":"image","source":"inbox/spelled.png","signature":[109,1795946723196941346,2659143],"shared":false,"sha256":"ea418dc866edf7a1b7788396c631e8b110d6d151dbfb50d28fcb34c131829aa3"},{"role":"sidecar","source":"inbox/spelled.toml","signature":[100,1795946723197311661,2659144],"shared":false,"sha256":"477bcd98db440c07b2bd5cd8531d8a392bf9b290f244733df7412139f6b8f478"}],"options":{"reference_scale":1.0,"geometry_file_format":"glb","material":"PBR","resolution":"Basic","escore":3.5},"created_at":1800000009.0,"again":false,"fingerprint":"ff6d48a4936a54208b4ff835ef0b63b3b13de79f5fe6bfc6fe095915809d73d4","retries":0,"attempts":0,"not_before":1800000010.5,"deadline":null,"times":{"claimed":1800000009.0,"staged":1800000009.0,"uploading":1800000009.0,"submitting":1800000009.0,"submitted":1800000009.0,"generated":1800000010.5,"downloaded":1800000010.5,"processed":1800000010.5,"delivered":1800000010.5,"archived":1800000010.5},"task":{"uuid":"8cee7d7e-c05d-4ecc-b617-4c807610d0b9","subscription_key":"","submitted_at":1800000009.0},"answer":null,"charges":1,"results":[{"name":"model.glb","original_name":"model.glb","size":2192,"sha256":"894c835a2fd12b41490d1e890c506bae71c39bc6562a75f476c25a059d87e3e1"},{"name":"preview.webp","original_name":"preview.webp","size":6060,"sha256":"587561d7adba9a57931012910a82f59c5eea8aab3700648ca903188bb34c2219"}],"processed":[],"facts":{},"plugins":{},"place":"outbox/spelled","problem":null,"progress":"","working_at":0.0}');
INSERT INTO "jobs" VALUES('95fc78436f3a','archived','scaled','','','5c64e656213b10338b931857eb24fd30028521908b1677f1489f9d834565bb07','glb/PBR/Basic',0.75,'93f49e0f-b86a-40fd-9e75-34e5b8a01277',1,1800000014.5,1800000016.0,'outbox/scaled','{"id":"95fc78436f3a","name":"scaled","folder":"","state":"archived","files":[{"role":"model","source":"inbox/scaled.obj","signature":[155,1795946724511982339,2661152],"shared":false,"sha256":"d2681515e89b34545dc7d95fee4eff804a45302ba7219a06b7cfe2cd8544dc29"},{"role":"image","source":"inbox/scaled.png","signature":[84,1795946724512712859,2661153],"shared":false,"sha256":"e81c282322553895c1fd72e47d3ad67c7e791fee86f71aac76475ee5eb65de66"},{"role":"sidecar","source":"inbox/scaled.toml","signature":[29,1795946724513048990,2661154],"shared":false,"sha256":"48726f218cd95d6740f6b8c46a78bbe5278dae2b5279b715e5d694a1b718bf7a"}],"options":{"seed":7,"reference_scale":1.0},"created_at":1800000014.5,"again":false,"fingerprint":"5c64e656213b10338b931857eb24fd30028521908b1677f1489f9d834565bb07","retries":0,"attempts":0,"not_before":1800000016.0,"deadline":null,"times":{"claimed":1800000014.5,"staged":1800000014.5,"uploading":1800000014.5,"submitting":1800000014.5,"submitted":1800000014.5,"generated":1800000016.0,"downloaded":1800000016.0,"processed":1800000016.0,"delivered":1800000016.0,"archived":1800000016.0},"task":{"uuid":"93f49e0f-b86a-40fd-9e75-34e5b8a01277","subscription_key":"","submitted_at":1800000014.5},"answer":null,"charges":1,"results":[{"name":"model.glb","original_name":"model.glb","size":2172,"sha256":"f47e80f6e6cb37ea1f286e2d73d333c53c08956461de87f43e460e530866c729"},{"name":"preview.webp","original_name":"preview.webp","size":5356,"sha256":"ed94ab09fa4e9f259bedd8d1ac2dca653de069e7d299e6c277ff1b3923258430"}],"processed":[],"facts":{},"plugins":{},"place":"outbox/scaled","problem":null,"progress":"","working_at":0.0}');
INSERT INTO "jobs" VALUES('24136e417cd8','archived','other','','','b2019e1400746a3dea3b08b5673d1d5ba735249e2fb3b8a2f8cf70241d8a9d5c','glb/Shaded/Basic',1.0,'c0c71f5f-5507-4ac3-b434-67552d945b84',1,1800000020.0,1800000022.0,'outbox/other','{"id":"24136e417cd8","name":"other","folder":"","state":"archived","files":[{"role":"model","source":"inbox/other.obj","signature":[154,1795946725470303194,2661442],"shared":false,"sha256":"5bd275c168be92b1656b426de91b455c97c25b8a91a590f5c9ac761119fdd31b"},{"role":"image","source":"inbox/other.png","signature":[93,1795946725471247656,2661443],"shared":false,"sha256":"8e014f5675f5a3d9fa590cd300c5b54220f9e41ffd6a89346a1245e4b396b382"},{"role":"sidecar","source":"inbox/other.toml","signature":[62,1795946725471705795,2661444],"shared":false,"sha256":"af2499c8129b086bf381ccf78a64f0e00035e7bbc94d37aa38cfc250b4243ce4"}],"options":{"prompt":"worn oak","reference_scale":0.5,"material":"Shaded"},"created_at":1800000020.0,"again":false,"fingerprint":"b2019e1400746a3dea3b08b5673d1d5ba735249e2fb3b8a2f8cf70241d8a9d5c","retries":0,"attempts":0,"not_before":1800000022.0,"deadline":null,"times":{"claimed":1800000020.0,"staged":1800000020.0,"uploading":1800000020.0,"submitting":1800000020.0,"submitted":1800000020.0,"generated":1800000022.0,"downloaded":1800000022.0,"processed":1800000022.0,"delivered":1800000022.0,"archived":1800000022.0},"task":{"uuid":"c0c71f5f-5507-4ac3-b434-67552d945b84","subscription_key":"","submitted_at":1800000020.0},"answer":null,"charges":1,"results":[{"name":"model.glb","original_name":"model.glb","size":2264,"sha256":"a719bcdbf2874550787366cff322fc57bded801c5246f74a4a54f78fbffbfe65"},{"name":"preview.webp","original_name":"preview.webp","size":5976,"sha256":"b3d84b8e623db64206e6081fae313e000e924f15228a7cada1d46f1d543b411f"}],"processed":[],"facts":{},"plugins":{},"place":"outbox/other","problem":null,"progress":"","working_at":0.0}');
INSERT INTO "jobs" VALUES('7dea6ec158ec','archived','again','','','d6b0230627b34ae57038a7030d13f3e00467cafcee2ef86a2e43b6a540f6451b','glb/PBR/Basic',0.75,'99fa124b-c182-4a00-90f6-f90e72df9dcd',1,1800000026.0,1800000027.5,'outbox/again','{"id":"7dea6ec158ec","name":"again","folder":"","state":"archived","files":[{"role":"model","source":"inbox/again.obj","signature":[154,1795946726468913186,2661446],"shared":false,"sha256":"2aab9c0ffac54033d8da9427749f2d45bcaf59cbdb6f639e2602f580b5459a6c"},{"role":"image","source":"inbox/again.png","signature":[94,1795946726469385442,2661447],"shared":false,"sha256":"ae6aac6e401968a77b86336fd16c6cad4ec739642a54f8fff49702a03a4c04e0"}],"options":{},"created_at":1800000026.0,"again":false,"fingerprint":"d6b0230627b34ae57038a7030d13f3e00467cafcee2ef86a2e43b6a540f6451b","retries":0,"attempts":0,"not_before":1800000027.5,"deadline":null,"times":{"claimed":1800000026.0,"staged":1800000026.0,"uploading":1800000026.0,"submitting":1800000026.0,"submitted":1800000026.0,"generated":1800000027.5,"downloaded":1800000027.5,"processed":1800000027.5,"delivered":1800000027.5,"archived":1800000027.5},"task":{"uuid":"99fa124b-c182-4a00-90f6-f90e72df9dcd","subscription_key":"","submitted_at":1800000026.0},"answer":null,"charges":1,"results":[{"name":"model.glb","original_name":"model.glb","size":2180,"sha256":"3d859547bcab1297e000a4ac7cc10c59d9db42d803f18cd4ca1c4b1019dd708b"},{"name":"preview.webp","original_name":"preview.webp","size":5778,"sha256":"bdf91f0a909791ddf63c7a3a5645eb3161865ad3ef98776b80be2bec7ced86fa"}],"processed":[],"facts":{},"plugins":{},"place":"outbox/again","problem":null,"progress":"","working_at":0.0}');
INSERT INTO "jobs" VALUES('17fa840fd449','archived','once-more','','','d6b0230627b34ae57038a7030d13f3e00467cafcee2ef86a2e43b6a540f6451b','glb/PBR/Basic',0.75,'46a40cd8-e100-4496-b6b5-4807c39a9123',1,1800000031.5,1800000033.0,'outbox/once-more','{"id":"17fa840fd449","name":"once-more","folder":"","state":"archived","files":[{"role":"model","source":"inbox/once-more.obj","signature":[154,1795946727251930607,2661448],"shared":false,"sha256":"2aab9c0ffac54033d8da9427749f2d45bcaf59cbdb6f639e2602f580b5459a6c"},{"role":"image","source":"inbox/once-more.png","signature":[94,1795946727252450713,2661449],"shared":false,"sha256":"ae6aac6e401968a77b86336fd16c6cad4ec739642a54f8fff49702a03a4c04e0"},{"role":"sidecar","source":"inbox/once-more.toml","signature":[13,1795946727252811900,2661450],"shared":false,"sha256":"f38a1ff1957a9855e856c6675409408869d7348de75510841665498790f6a37e"}],"options":{},"created_at":1800000031.5,"again":true,"fingerprint":"d6b0230627b34ae57038a7030d13f3e00467cafcee2ef86a2e43b6a540f6451b","retries":0,"attempts":0,"not_before":1800000033.0,"deadline":null,"times":{"claimed":1800000031.5,"staged":1800000031.5,"uploading":1800000031.5,"submitting":1800000031.5,"submitted":1800000031.5,"generated":1800000033.0,"downloaded":1800000033.0,"processed":1800000033.0,"delivered":1800000033.0,"archived":1800000033.0},"task":{"uuid":"46a40cd8-e100-4496-b6b5-4807c39a9123","subscription_key":"","submitted_at":1800000031.5},"answer":null,"charges":1,"results":[{"name":"model.glb","original_name":"model.glb","size":2180,"sha256":"3d859547bcab1297e000a4ac7cc10c59d9db42d803f18cd4ca1c4b1019dd708b"},{"name":"preview.webp","original_name":"preview.webp","size":5778,"sha256":"bdf91f0a909791ddf63c7a3a5645eb3161865ad3ef98776b80be2bec7ced86fa"}],"processed":[],"facts":{},"plugins":{},"place":"outbox/once-more","problem":null,"progress":"","working_at":0.0}');
INSERT INTO "jobs" VALUES('910930710adc','failed','twin','','','','glb/PBR/Basic',NULL,NULL,0,1800000037.0,1800000037.0,'failed/twin','{"id":"910930710adc","name":"twin","folder":"","state":"failed","files":[{"role":"model","source":"inbox/twin.obj","signature":[154,1795946727554274321,2661451],"shared":false,"sha256":""},{"role":"image","source":"inbox/twin.png","signature":[95,1795946727554711642,2661452],"shared":false,"sha256":""}],"options":{},"created_at":1800000037.0,"again":false,"fingerprint":"","retries":0,"attempts":0,"not_before":1800000037.0,"deadline":null,"times":{"claimed":1800000037.0,"failing":1800000037.0,"failed":1800000037.0},"task":null,"answer":null,"charges":0,"results":[],"processed":[],"facts":{},"plugins":{},"place":"failed/twin","problem":{"code":"duplicate","fault":"files","scope":"set","message":"The same model, image and options were delivered before: outbox/plain (job 26149f2d3b52).","advice":"Use the result there is, or write `again = true` into the sidecar to pay for it again.","lane":null,"retry_after_seconds":null},"progress":"","working_at":0.0}');
INSERT INTO "jobs" VALUES('fb6bcfef235c','failed','refused','','','2662aea78354b1c73a92feebcb01de91d33543a391af802f9f86f9d611021520','glb/PBR/Basic',NULL,NULL,0,1800000041.0,1800000041.0,'failed/refused','{"id":"fb6bcfef235c","name":"refused","folder":"","state":"failed","files":[{"role":"model","source":"inbox/refused.obj","signature":[156,1795946727670654735,2661453],"shared":false,"sha256":"a845993d2e8f5942f9c336c45d66343d4db32760fa81211544c40d549c5af4b1"},{"role":"image","source":"inbox/refused.png","signature":[109,1795946727676582845,2661454],"shared":false,"sha256":"4c5566287d7eeee75a9ed238a60be95dc3b3be0e0cbe04ee36e82c4ee027a3fc"},{"role":"sidecar","source":"inbox/refused.toml","signature":[20,1795946727677015046,2661455],"shared":false,"sha256":"cfbe571e9aa924fa94443cb6a8d37f8fb428d56945a5b0b3dbd3aa6e9c9857c1"}],"options":{"reference_scale":1.0},"created_at":1800000041.0,"again":false,"fingerprint":"2662aea78354b1c73a92feebcb01de91d33543a391af802f9f86f9d611021520","retries":0,"attempts":0,"not_before":1800000041.0,"deadline":null,"times":{"claimed":1800000041.0,"staged":1800000041.0,"uploading":1800000041.0,"submitting":1800000041.0,"failing":1800000041.0,"failed":1800000041.0},"task":null,"answer":null,"charges":0,"results":[],"processed":[],"facts":{},"plugins":{},"place":"failed/refused","problem":{"code":"vendor-refused","fault":"files","scope":"set","message":"The vendor refused the set (HTTP 201, INVALID_REQUEST: \"INVALID_REQUEST: something went wrong.\").","advice":"Correct the files and drop the set into the inbox again.","lane":null,"retry_after_seconds":null},"progress":"","working_at":0.0}');
INSERT INTO "jobs" VALUES('786ed9a76dea','failed','in-vain','','','caf4f2e69171b791aafe08008c155e90ae6a99b7065b9c5f5241bb6c88b132ab','glb/PBR/Basic',NULL,'ecbdc1e5-935a-4a17-b0ee-e32bcb5933e5',1,1800000045.0,1800000046.5,'failed/in-vain','{"id":"786ed9a76dea","name":"in-vain","folder":"","state":"failed","files":[{"role":"model","source":"inbox/in-vain.obj","signature":[156,1795946727847020663,2661456],"shared":false,"sha256":"78fdc240c2adce35a45687fdede312acc046857a1919650635be21c895d65945"},{"role":"image","source":"inbox/in-vain.png","signature":[106,1795946727847862041,2661457],"shared":false,"sha256":"5ec21329361a3c8fd7924f0f23a4d57f9e66b395c1425d70908732b0da327589"},{"role":"sidecar","source":"inbox/in-vain.toml","signature":[20,1795946727848287800,2661458],"shared":false,"sha256":"cfbe571e9aa924fa94443cb6a8d37f8fb428d56945a5b0b3dbd3aa6e9c9857c1"}],"options":{"reference_scale":1.0},"created_at":1800000045.0,"again":false,"fingerprint":"caf4f2e69171b791aafe08008c155e90ae6a99b7065b9c5f5241bb6c88b132ab","retries":0,"attempts":0,"not_before":1800000046.5,"deadline":null,"times":{"claimed":1800000045.0,"staged":1800000045.0,"uploading":1800000045.0,"submitting":1800000045.0,"submitted":1800000045.0,"failing":1800000046.5,"failed":1800000046.5},"task":{"uuid":"ecbdc1e5-935a-4a17-b0ee-e32bcb5933e5","subscription_key":"","submitted_at":1800000045.0},"answer":null,"charges":1,"results":[],"processed":[],"facts":{},"plugins":{},"place":"failed/in-vain","problem":{"code":"task-failed","fault":"vendor","scope":"set","message":"The vendor reports that the task failed; it gives no reason.","advice":"To try once more, which costs again, drop the set with `again = true` in its TOML file; or ask the vendor''s support about the task.","lane":null,"retry_after_seconds":null},"progress":"","working_at":0.0}');
INSERT INTO "jobs" VALUES('ed8791119677','archived','paid-anew','','','2772e18e2327efb62ddecef201de25f8d83dee2d218b8ab6eb91e4e058020029','glb/PBR/Basic',0.75,'3cf9c00f-ba15-45c6-87ac-6b906308adcd',2,1800000050.5,1800000055.5,'outbox/paid-anew','{"id":"ed8791119677","name":"paid-anew","folder":"","state":"archived","files":[{"role":"model","source":"failed/paid-anew/paid-anew.obj","signature":[158,1795946728451813609,2654275],"shared":false,"sha256":"f6fcc3261b7e8893d14366b0ce41aaec60d329ad91b31a9409c0369a2d929cf3"},{"role":"image","source":"failed/paid-anew/paid-anew.png","signature":[95,1795946728452632606,2661459],"shared":false,"sha256":"d5519f716e4011e478c82c5226dbec8abd0c284a2323efd3150874a848136b5e"}],"options":{},"created_at":1800000050.5,"again":true,"fingerprint":"2772e18e2327efb62ddecef201de25f8d83dee2d218b8ab6eb91e4e058020029","retries":1,"attempts":0,"not_before":1800000055.5,"deadline":null,"times":{"claimed":1800000053.0,"staged":1800000054.0,"uploading":1800000054.0,"submitting":1800000054.0,"submitted":1800000054.0,"generated":1800000055.5,"downloaded":1800000055.5,"processed":1800000055.5,"delivered":1800000055.5,"archived":1800000055.5},"task":{"uuid":"3cf9c00f-ba15-45c6-87ac-6b906308adcd","subscription_key":"","submitted_at":1800000054.0},"answer":null,"charges":2,"results":[{"name":"model.glb","original_name":"model.glb","size":2180,"sha256":"95732be00ef8e931f72103018487361fa0d1bf042bcf36e8d5f8228ff540ad4b"},{"name":"preview.webp","original_name":"preview.webp","size":7672,"sha256":"45e3cf2cf670bed8b1b5cb2b192582f266069b3c944c58499a9c08a3805fa7aa"}],"processed":[],"facts":{},"plugins":{},"place":"outbox/paid-anew","problem":null,"progress":"","working_at":0.0}');
INSERT INTO "jobs" VALUES('da548db6ca7c','failed','given-up','','','dc985779273ae4ea5e815ceb98fc580775b60ac704d7870a660092f8f9c90b90','glb/PBR/Basic',NULL,NULL,0,1800000059.5,1800000061.5,'failed/given-up','{"id":"da548db6ca7c","name":"given-up","folder":"","state":"failed","files":[{"role":"model","source":"inbox/given-up.obj","signature":[157,1795946729544076662,2654276],"shared":false,"sha256":"5cd839c6d9e6ed94a3f240f8de0b03697c992767ed15542e88406083f06b1ca8"},{"role":"image","source":"inbox/given-up.png","signature":[101,1795946729544942466,2661461],"shared":false,"sha256":"7d72f0cb7793137ea90decab61c37f41e5a03f1d5bfb60b45c81947169988b48"},{"role":"sidecar","source":"inbox/given-up.toml","signature":[13,1795946729545348327,2661462],"shared":false,"sha256":"76c7442183ee32bbb76ae1f67ab8872e7460e8b96d193e6fef84b97dee425484"}],"options":{"escore":3.5},"created_at":1800000059.5,"again":false,"fingerprint":"dc985779273ae4ea5e815ceb98fc580775b60ac704d7870a660092f8f9c90b90","retries":0,"attempts":0,"not_before":1800000061.5,"deadline":null,"times":{"claimed":1800000059.5,"staged":1800000059.5,"uploading":1800000059.5,"submitting":1800000059.5,"held":1800000059.5,"failing":1800000060.5,"failed":1800000061.5},"task":null,"answer":null,"charges":0,"results":[],"processed":[],"facts":{},"plugins":{},"place":"failed/given-up","problem":{"code":"unknown-outcome","fault":"network","scope":"set","message":"The whole set was sent, but no answer came: the connection broke.","advice":"Look into the vendor''s account first. `rodin-watchd retry --pay-again JOB` submits it anew, for 0.5 credits.","lane":null,"retry_after_seconds":null},"progress":"","working_at":0.0}');
INSERT INTO "jobs" VALUES('4f6c91b66f94','held','held','','','v2:2b0d17859928f3e280fac43d05dd32c205290648f4c8bbd9e1de9955633f56e6','glb/PBR/Basic',NULL,NULL,0,1800000065.5,1800000065.5,'','{"id":"4f6c91b66f94","name":"held","folder":"","state":"held","files":[{"role":"model","source":"inbox/held.obj","signature":[153,1795946730491912017,2654278],"shared":false,"sha256":"0b511b4849e753cfc3f6fc87c84ac1abec77080e0ec6c9272d28eebf23e12fb9"},{"role":"image","source":"inbox/held.png","signature":[84,1795946730492696830,2661464],"shared":false,"sha256":"2e41c9f4062a7cb406923c4053dbc3fa5414d748af1629a984cd117d766a5dbf"},{"role":"sidecar","source":"inbox/held.toml","signature":[13,1795946730493054821,2661465],"shared":false,"sha256":"76c7442183ee32bbb76ae1f67ab8872e7460e8b96d193e6fef84b97dee425484"}],"options":{"escore":3.5},"created_at":1800000065.5,"again":false,"fingerprint":"v2:2b0d17859928f3e280fac43d05dd32c205290648f4c8bbd9e1de9955633f56e6","retries":0,"attempts":0,"not_before":1800000065.5,"deadline":null,"times":{"claimed":1800000065.5,"staged":1800000065.5,"uploading":1800000065.5,"submitting":1800000065.5,"held":1800000065.5},"task":null,"answer":null,"charges":0,"results":[],"processed":[],"facts":{},"plugins":{},"place":"","problem":{"code":"unknown-outcome","fault":"network","scope":"set","message":"The whole set was sent, but no answer came: the connection broke.","advice":"Look into the vendor''s account, then use `rodin-watchd resolve JOB`.","lane":null,"retry_after_seconds":null},"progress":"","working_at":0.0}');
INSERT INTO "jobs" VALUES('633cb9012729','failed','misspelt','','','','glb/PBR/Basic',NULL,NULL,0,1800000069.5,1800000069.5,'failed/misspelt','{"id":"633cb9012729","name":"misspelt","folder":"","state":"failed","files":[{"role":"model","source":"inbox/misspelt.obj","signature":[157,1795946731364234642,2661466],"shared":false,"sha256":""},{"role":"image","source":"inbox/misspelt.png","signature":[101,1795946731364979169,2661467],"shared":false,"sha256":""},{"role":"sidecar","source":"inbox/misspelt.toml","signature":[8,1795946731365275154,2661468],"shared":false,"sha256":""}],"options":{},"created_at":1800000069.5,"again":false,"fingerprint":"","retries":0,"attempts":0,"not_before":1800000069.5,"deadline":null,"times":{"failing":1800000069.5,"failed":1800000069.5},"task":null,"answer":null,"charges":0,"results":[],"processed":[],"facts":{},"plugins":{},"place":"failed/misspelt","problem":{"code":"sidecar","fault":"files","scope":"set","message":"misspelt.toml line 1: sed: unknown key; did you mean seed?","advice":"Correct the TOML file and drop the set into the inbox again.","lane":null,"retry_after_seconds":null},"progress":"","working_at":0.0}');
INSERT INTO "jobs" VALUES('795c1c86c496','submitted','submitted','','','v2:114d40f09c05ed5d4ed606e122992804a5d733e2e4b06cc17557186973841287','glb/PBR/Basic',NULL,'aab2e320-fd44-4f21-8c94-1411ec8c59ce',1,1800000073.5,1800000073.5,'','{"id":"795c1c86c496","name":"submitted","folder":"","state":"submitted","files":[{"role":"model","source":"inbox/submitted.obj","signature":[158,1795946731492612451,2661469],"shared":false,"sha256":"f1d7ce86fc0633d2ba201ce5ac14795b2607767607b15504d3945d3b65c633aa"},{"role":"image","source":"inbox/submitted.png","signature":[96,1795946731493557534,2661470],"shared":false,"sha256":"084c7bed623020c256cc57e9660c28d39da7b060af7d684488c18137b57b0d36"},{"role":"sidecar","source":"inbox/submitted.toml","signature":[20,1795946731493983493,2661471],"shared":false,"sha256":"cfbe571e9aa924fa94443cb6a8d37f8fb428d56945a5b0b3dbd3aa6e9c9857c1"}],"options":{"reference_scale":1.0},"created_at":1800000073.5,"again":false,"fingerprint":"v2:114d40f09c05ed5d4ed606e122992804a5d733e2e4b06cc17557186973841287","retries":0,"attempts":0,"not_before":1800000074.53125,"deadline":1800086473.5,"times":{"claimed":1800000073.5,"staged":1800000073.5,"uploading":1800000073.5,"submitting":1800000073.5,"submitted":1800000073.5},"task":{"uuid":"aab2e320-fd44-4f21-8c94-1411ec8c59ce","subscription_key":"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ0YXNrIjoiYWFiMmUzMjAtZmQ0NC00ZjIxLThjOTQtMTQxMWVjOGM1OWNlIiwiaWF0IjoxNzk1OTQ2NzMyfQ.y6SCycJEGUzaQ-3ORFpT550qdTmilgsqY4QW-h38x94","submitted_at":1800000073.5},"answer":null,"charges":1,"results":[],"processed":[],"facts":{},"plugins":{},"place":"","problem":null,"progress":"","working_at":0.0}');
INSERT INTO "jobs" VALUES('d79d3458a588','claimed','claimed','','','','glb/PBR/Basic',NULL,NULL,0,1800000073.5,1800000073.5,'','{"id":"d79d3458a588","name":"claimed","folder":"","state":"claimed","files":[{"role":"model","source":"inbox/claimed.obj","signature":[156,1,1],"shared":false,"sha256":""},{"role":"image","source":"inbox/claimed.png","signature":[108,1,2],"shared":false,"sha256":""}],"options":{"reference_scale":1.0},"created_at":1800000073.5,"again":false,"fingerprint":"","retries":0,"attempts":0,"not_before":1800000073.5,"deadline":null,"times":{"claimed":1800000073.5},"task":null,"answer":null,"charges":0,"results":[],"processed":[],"facts":{},"plugins":{},"place":"","problem":null,"progress":"","working_at":0.0}');
INSERT INTO "jobs" VALUES('8d906d61f92c','staged','staged','','','v2:7d9392a824aa601c97d71f96c564edc819e668fc79fd06b57955cf5b2eb99bc7','glb/PBR/Basic',NULL,NULL,0,1800000073.5,1800000073.5,'','{"id":"8d906d61f92c","name":"staged","folder":"","state":"staged","files":[{"role":"model","source":"inbox/staged.obj","signature":[155,1,1],"shared":false,"sha256":"1f55e3c5ed9d76ea03278fc08750dfc557aae079765b21642285ce3412f87c7c"},{"role":"image","source":"inbox/staged.png","signature":[84,1,2],"shared":false,"sha256":"a5b90b57bf971b4825969f097183a0b54e9357846ca05d35d235b78e6d3e806c"}],"options":{"reference_scale":1.0},"created_at":1800000073.5,"again":false,"fingerprint":"v2:7d9392a824aa601c97d71f96c564edc819e668fc79fd06b57955cf5b2eb99bc7","retries":0,"attempts":0,"not_before":1800000073.5,"deadline":null,"times":{"claimed":1800000073.5,"staged":1800000073.5},"task":null,"answer":null,"charges":0,"results":[],"processed":[],"facts":{},"plugins":{},"place":"","problem":null,"progress":"","working_at":0.0}');
INSERT INTO "jobs" VALUES('8f293e2c0d74','staged','staged-again','','','v2:db7b8a3e7885ec4b8cbd492779b58d7d8be2208ca73a2f6ad8825fe1e36a47c5','glb/PBR/Basic',NULL,NULL,0,1800000073.5,1800000073.5,'','{"id":"8f293e2c0d74","name":"staged-again","folder":"","state":"staged","files":[{"role":"model","source":"inbox/staged-again.obj","signature":[161,1,1],"shared":false,"sha256":"b343a31e3bd25cc11664b232560ecec25196bfd48c0b7a1889de3c1fc4f7f4ce"},{"role":"image","source":"inbox/staged-again.png","signature":[84,1,2],"shared":false,"sha256":"11ef586cee9c43bbc7b85652be12d593683dd3dcd157eca41a8ad4d0ba615f46"},{"role":"sidecar","source":"inbox/staged-again.toml","signature":[13,1,3],"shared":false,"sha256":"f38a1ff1957a9855e856c6675409408869d7348de75510841665498790f6a37e"}],"options":{},"created_at":1800000073.5,"again":true,"fingerprint":"v2:db7b8a3e7885ec4b8cbd492779b58d7d8be2208ca73a2f6ad8825fe1e36a47c5","retries":0,"attempts":0,"not_before":1800000073.5,"deadline":null,"times":{"claimed":1800000073.5,"staged":1800000073.5},"task":null,"answer":null,"charges":0,"results":[],"processed":[],"facts":{},"plugins":{},"place":"","problem":null,"progress":"","working_at":0.0}');
INSERT INTO "jobs" VALUES('39e15e2c9d48','uploading','uploading','','','v2:9b90bbc374dd24961a06273e00235caf7b0482d40cbf234029ecb7aead71f330','glb/PBR/Basic',NULL,NULL,0,1800000073.5,1800000073.5,'','{"id":"39e15e2c9d48","name":"uploading","folder":"","state":"uploading","files":[{"role":"model","source":"inbox/uploading.obj","signature":[158,1,1],"shared":false,"sha256":"005656c643647f7f5399d48686facea90959e379ac30fedcf4e8c0679941ab4c"},{"role":"image","source":"inbox/uploading.png","signature":[96,1,2],"shared":false,"sha256":"958672fb3e87b4a8a9f3fc134df72df5c0ed72a6284404a9b9992b044bee1b64"}],"options":{"reference_scale":1.0},"created_at":1800000073.5,"again":false,"fingerprint":"v2:9b90bbc374dd24961a06273e00235caf7b0482d40cbf234029ecb7aead71f330","retries":0,"attempts":0,"not_before":1800000073.5,"deadline":null,"times":{"claimed":1800000073.5,"staged":1800000073.5,"uploading":1800000073.5},"task":null,"answer":null,"charges":0,"results":[],"processed":[],"facts":{},"plugins":{},"place":"","problem":null,"progress":"","working_at":0.0}');
INSERT INTO "jobs" VALUES('d4df985a9f58','submitting','submitting','','','v2:7a877ded118cc9a8dc147cd5b49912cdea995bcafd431b547cc830615bdeeec4','glb/PBR/Basic',NULL,NULL,0,1800000073.5,1800000073.5,'','{"id":"d4df985a9f58","name":"submitting","folder":"","state":"submitting","files":[{"role":"model","source":"inbox/submitting.obj","signature":[159,1,1],"shared":false,"sha256":"43e8e7ffb80865b73b03a93a327360d80387be726ae3349084bdda5871afc4ef"},{"role":"image","source":"inbox/submitting.png","signature":[102,1,2],"shared":false,"sha256":"4e5a56ed3158753916af051f26fee86d68d9891ecb2506ae8f74b55243e3579e"}],"options":{"reference_scale":1.0},"created_at":1800000073.5,"again":false,"fingerprint":"v2:7a877ded118cc9a8dc147cd5b49912cdea995bcafd431b547cc830615bdeeec4","retries":0,"attempts":0,"not_before":1800000073.5,"deadline":null,"times":{"claimed":1800000073.5,"staged":1800000073.5,"uploading":1800000073.5,"submitting":1800000073.5},"task":null,"answer":null,"charges":0,"results":[],"processed":[],"facts":{},"plugins":{},"place":"","problem":null,"progress":"","working_at":0.0}');
INSERT INTO "jobs" VALUES('e0cb800a5ccd','generated','generated','','','v2:49d816655294b70ab09db8c21b5ff95d2e165df06f5d5f88ccf1e09937643d05','glb/PBR/Basic',NULL,'task-of-generated',1,1800000073.5,1800000073.5,'','{"id":"e0cb800a5ccd","name":"generated","folder":"","state":"generated","files":[{"role":"model","source":"inbox/generated.obj","signature":[158,1,1],"shared":false,"sha256":"d89576a100459dd65e57e33e1b702901d0410e1210f0309a3ccb3effe8d584db"},{"role":"image","source":"inbox/generated.png","signature":[96,1,2],"shared":false,"sha256":"48c36feb463528b0312aadf4369b2289dce45484a525fea0fd5539889ea365d2"}],"options":{"reference_scale":1.0},"created_at":1800000073.5,"again":false,"fingerprint":"v2:49d816655294b70ab09db8c21b5ff95d2e165df06f5d5f88ccf1e09937643d05","retries":0,"attempts":0,"not_before":1800000073.5,"deadline":1800604873.5,"times":{"claimed":1800000073.5,"staged":1800000073.5,"uploading":1800000073.5,"submitting":1800000073.5,"submitted":1800000073.5,"generated":1800000073.5},"task":{"uuid":"task-of-generated","subscription_key":"","submitted_at":1800000073.5},"answer":null,"charges":1,"results":[],"processed":[],"facts":{},"plugins":{},"place":"","problem":null,"progress":"","working_at":0.0}');
INSERT INTO "jobs" VALUES('b7a8a844a613','downloaded','downloaded','','','v2:f51fc668cd3f530c8530c3681c863dd471cd06255ad55dd38179df9c3889bda4','glb/PBR/Basic',NULL,'task-of-downloaded',1,1800000073.5,1800000073.5,'','{"id":"b7a8a844a613","name":"downloaded","folder":"","state":"downloaded","files":[{"role":"model","source":"inbox/downloaded.obj","signature":[159,1,1],"shared":false,"sha256":"d81b6397a95ebdbeb86088d79817f0c2aecaa91fced6aea3bddd63f33319a2f5"},{"role":"image","source":"inbox/downloaded.png","signature":[102,1,2],"shared":false,"sha256":"155331cd3645f3ddc243242dcdfa600127aad08e0c6f9f434cdee75e712a4dc7"}],"options":{"reference_scale":1.0},"created_at":1800000073.5,"again":false,"fingerprint":"v2:f51fc668cd3f530c8530c3681c863dd471cd06255ad55dd38179df9c3889bda4","retries":0,"attempts":0,"not_before":1800000073.5,"deadline":null,"times":{"claimed":1800000073.5,"staged":1800000073.5,"uploading":1800000073.5,"submitting":1800000073.5,"submitted":1800000073.5,"generated":1800000073.5,"downloaded":1800000073.5},"task":{"uuid":"task-of-downloaded","subscription_key":"","submitted_at":1800000073.5},"answer":null,"charges":1,"results":[],"processed":[],"facts":{},"plugins":{},"place":"","problem":null,"progress":"","working_at":0.0}');
INSERT INTO "jobs" VALUES('58190ffabf98','processed','processed','','','v2:a61b71f7a2f49e859beea8a32063b2e2f1bf649e1cb6943f6cf55036b8d3feaf','glb/PBR/Basic',NULL,'task-of-processed',1,1800000073.5,1800000073.5,'','{"id":"58190ffabf98","name":"processed","folder":"","state":"processed","files":[{"role":"model","source":"inbox/processed.obj","signature":[158,1,1],"shared":false,"sha256":"7b2acebd72a59d9a84b119753b75a166a76092e81f4e63f0042fa345068c79d4"},{"role":"image","source":"inbox/processed.png","signature":[96,1,2],"shared":false,"sha256":"4de999a41fea5db342db04114e51d2434ccb5fc44cad8c847014662c49ee6bca"}],"options":{"reference_scale":1.0},"created_at":1800000073.5,"again":false,"fingerprint":"v2:a61b71f7a2f49e859beea8a32063b2e2f1bf649e1cb6943f6cf55036b8d3feaf","retries":0,"attempts":0,"not_before":1800000073.5,"deadline":null,"times":{"claimed":1800000073.5,"staged":1800000073.5,"uploading":1800000073.5,"submitting":1800000073.5,"submitted":1800000073.5,"generated":1800000073.5,"downloaded":1800000073.5,"processed":1800000073.5},"task":{"uuid":"task-of-processed","subscription_key":"","submitted_at":1800000073.5},"answer":null,"charges":1,"results":[],"processed":[],"facts":{},"plugins":{},"place":"","problem":null,"progress":"","working_at":0.0}');
INSERT INTO "jobs" VALUES('373e0712c83c','delivered','delivered','','','v2:d729b2a744ed46a599d406f37fe72a1805c72ef229d2070f5c34afb8a1952fc2','glb/PBR/Basic',NULL,'task-of-delivered',1,1800000073.5,1800000073.5,'','{"id":"373e0712c83c","name":"delivered","folder":"","state":"delivered","files":[{"role":"model","source":"inbox/delivered.obj","signature":[158,1,1],"shared":false,"sha256":"0094e5f699d4cdf8bfe4c808a793fccfb87f9237fa2c6845edae85070410dd9b"},{"role":"image","source":"inbox/delivered.png","signature":[96,1,2],"shared":false,"sha256":"f17d3b620bcf4a2406eb0030becc2394c57a840109ea6aa8324471325cb07c41"}],"options":{"reference_scale":1.0},"created_at":1800000073.5,"again":false,"fingerprint":"v2:d729b2a744ed46a599d406f37fe72a1805c72ef229d2070f5c34afb8a1952fc2","retries":0,"attempts":0,"not_before":1800000073.5,"deadline":null,"times":{"claimed":1800000073.5,"staged":1800000073.5,"uploading":1800000073.5,"submitting":1800000073.5,"submitted":1800000073.5,"generated":1800000073.5,"downloaded":1800000073.5,"processed":1800000073.5,"delivered":1800000073.5},"task":{"uuid":"task-of-delivered","subscription_key":"","submitted_at":1800000073.5},"answer":null,"charges":1,"results":[],"processed":[],"facts":{},"plugins":{},"place":"","problem":null,"progress":"","working_at":0.0}');
INSERT INTO "jobs" VALUES('0967115f2813','staged','same','','','v2:578dc546a0d013940231ace174bfa851ceec4c274f84277ae9e8d8319a0ee6eb','glb/PBR/Basic',NULL,NULL,0,1800000073.5,1800000073.5,'','{"id":"0967115f2813","name":"same","folder":"","state":"staged","files":[{"role":"model","source":"inbox/same.obj","signature":[153,1,1],"shared":false,"sha256":"5600c88ce5597747edfdba29b38c19c1caffcb84ce2d54e0fce53647609fe220"},{"role":"image","source":"inbox/same.png","signature":[84,1,2],"shared":false,"sha256":"15db8e6675d2c9fec0a5b35bc5441be48d7b27a6096f561c27981ddb8e6d7366"}],"options":{},"created_at":1800000073.5,"again":false,"fingerprint":"v2:578dc546a0d013940231ace174bfa851ceec4c274f84277ae9e8d8319a0ee6eb","retries":0,"attempts":0,"not_before":1800000073.5,"deadline":null,"times":{"claimed":1800000073.5,"staged":1800000073.5},"task":null,"answer":null,"charges":0,"results":[],"processed":[],"facts":{},"plugins":{},"place":"","problem":null,"progress":"","working_at":0.0}');
INSERT INTO "jobs" VALUES('5a3e5a3e5a3e','staged','same-too','','','caca87664070bd8f61e96e00be5aceebe187d84dfb559ea1702d9f8a0e476b3e','glb/PBR/Basic',NULL,NULL,0,1800000073.5,1800000073.5,'','{"id":"5a3e5a3e5a3e","name":"same-too","folder":"","state":"staged","files":[{"role":"model","source":"inbox/same.obj","signature":[153,1,1],"shared":false,"sha256":"5600c88ce5597747edfdba29b38c19c1caffcb84ce2d54e0fce53647609fe220"},{"role":"image","source":"inbox/same.png","signature":[84,1,2],"shared":false,"sha256":"15db8e6675d2c9fec0a5b35bc5441be48d7b27a6096f561c27981ddb8e6d7366"}],"options":{"reference_scale":1.0},"created_at":1800000073.5,"again":false,"fingerprint":"caca87664070bd8f61e96e00be5aceebe187d84dfb559ea1702d9f8a0e476b3e","retries":0,"attempts":0,"not_before":1800000073.5,"deadline":null,"times":{"claimed":1800000073.5,"staged":1800000073.5},"task":null,"answer":null,"charges":0,"results":[],"processed":[],"facts":{},"plugins":{},"place":"","problem":null,"progress":"","working_at":0.0}');
INSERT INTO "jobs" VALUES('5f76b3ec626e','failing','failing','','','v2:60810f2d7364416adf84345819f6f5ad0c2f9cc0998a71af2cca5c8278bc90ea','glb/PBR/Basic',NULL,NULL,0,1800000073.5,1800000073.5,'','{"id":"5f76b3ec626e","name":"failing","folder":"","state":"failing","files":[{"role":"model","source":"inbox/failing.obj","signature":[156,1,1],"shared":false,"sha256":"61737011eb7c4b7892bb2fa6be8a5987ce56bdecc8f86ba3ad14d9e7003d5e76"},{"role":"image","source":"inbox/failing.png","signature":[97,1,2],"shared":false,"sha256":"c271ea171c5781a619d808f71117c6cbfd699d72fb77d66fd89110045d5fb705"}],"options":{},"created_at":1800000073.5,"again":false,"fingerprint":"v2:60810f2d7364416adf84345819f6f5ad0c2f9cc0998a71af2cca5c8278bc90ea","retries":0,"attempts":0,"not_before":1800000073.5,"deadline":null,"times":{"claimed":1800000073.5,"staged":1800000073.5,"failing":1800000073.5},"task":null,"answer":null,"charges":0,"results":[],"processed":[],"facts":{},"plugins":{},"place":"","problem":{"code":"canceled","fault":"nobody","scope":"set","message":"Canceled on request.","advice":"Drop the set into the inbox again if you want it after all.","lane":null,"retry_after_seconds":null},"progress":"","working_at":0.0}');
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
INSERT INTO "meta" VALUES('budget-day','[1799971200.0, 0]');
INSERT INTO "meta" VALUES('page','{"notices": [], "waiting": [], "running": [{"name": "submitted", "text": "taken, being checked", "job": "795c1c86c496", "since_at": 1800000073.5}], "held": [{"name": "held", "text": "held for a person''s decision: The whole set was sent, but no answer came: the connection broke. Cost: no credits for certain, and 0.5 credits more if the last submit was accepted. Look into the vendor''s account, then use `rodin-watchd resolve 4f6c91b66f94`.", "job": "4f6c91b66f94", "since_at": 1800000065.5}], "recent": [{"name": "misspelt", "text": "FAILED: misspelt.toml line 1: sed: unknown key; did you mean seed? Cost: no credits. See failed/misspelt/REPORT.txt", "job": "633cb9012729", "since_at": 1800000069.5}, {"name": "given-up", "text": "FAILED: The whole set was sent, but no answer came: the connection broke. Cost: no credits for certain, and 0.5 credits more if the last submit was accepted. See failed/given-up/REPORT.txt", "job": "da548db6ca7c", "since_at": 1800000061.5}, {"name": "paid-anew", "text": "delivered to outbox/paid-anew. Cost: 1 credit.", "job": "ed8791119677", "since_at": 1800000055.5}, {"name": "in-vain", "text": "FAILED: The vendor reports that the task failed; it gives no reason. Cost: 0.5 credits. See failed/in-vain/REPORT.txt", "job": "786ed9a76dea", "since_at": 1800000046.5}, {"name": "refused", "text": "FAILED: The vendor refused the set (HTTP 201, INVALID_REQUEST: \"INVALID_REQUEST: something went wrong.\"). Cost: no credits. See failed/refused/REPORT.txt", "job": "fb6bcfef235c", "since_at": 1800000041.0}, {"name": "twin", "text": "FAILED: The same model, image and options were delivered before: outbox/plain (job 26149f2d3b52). Cost: no credits. See failed/twin/REPORT.txt", "job": "910930710adc", "since_at": 1800000037.0}, {"name": "once-more", "text": "delivered to outbox/once-more. Cost: 0.5 credits.", "job": "17fa840fd449", "since_at": 1800000033.0}, {"name": "again", "text": "delivered to outbox/again. Cost: 0.5 credits.", "job": "7dea6ec158ec", "since_at": 1800000027.5}, {"name": "other", "text": "delivered to outbox/other. Cost: 0.5 credits.", "job": "24136e417cd8", "since_at": 1800000022.0}, {"name": "scaled", "text": "delivered to outbox/scaled. Cost: 0.5 credits.", "job": "95fc78436f3a", "since_at": 1800000016.0}, {"name": "spelled", "text": "delivered to outbox/spelled. Cost: 0.5 credits.", "job": "2d56d32bc322", "since_at": 1800000010.5}, {"name": "plain", "text": "delivered to outbox/plain. Cost: 0.5 credits.", "job": "26149f2d3b52", "since_at": 1800000005.0}], "ignored": {}}');
INSERT INTO "meta" VALUES('balance','{"credits": "100", "at": 1800000003.0, "low": false, "exact": false, "vendor": "http://127.0.0.1:38223", "purchase": 0}');
INSERT INTO "meta" VALUES('written','1');
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
INSERT INTO "moves" VALUES('downloaded','held');
INSERT INTO "moves" VALUES('downloaded','processed');
INSERT INTO "moves" VALUES('failed','claimed');
INSERT INTO "moves" VALUES('failed','failed');
INSERT INTO "moves" VALUES('failing','failed');
INSERT INTO "moves" VALUES('failing','failing');
INSERT INTO "moves" VALUES('failing','held');
INSERT INTO "moves" VALUES('generated','downloaded');
INSERT INTO "moves" VALUES('generated','failing');
INSERT INTO "moves" VALUES('generated','generated');
INSERT INTO "moves" VALUES('generated','held');
INSERT INTO "moves" VALUES('held','failing');
INSERT INTO "moves" VALUES('held','held');
INSERT INTO "moves" VALUES('held','staged');
INSERT INTO "moves" VALUES('held','submitted');
INSERT INTO "moves" VALUES('processed','delivered');
INSERT INTO "moves" VALUES('processed','generated');
INSERT INTO "moves" VALUES('processed','held');
INSERT INTO "moves" VALUES('processed','processed');
INSERT INTO "moves" VALUES('staged','failing');
INSERT INTO "moves" VALUES('staged','held');
INSERT INTO "moves" VALUES('staged','staged');
INSERT INTO "moves" VALUES('staged','uploading');
INSERT INTO "moves" VALUES('submitted','failing');
INSERT INTO "moves" VALUES('submitted','generated');
INSERT INTO "moves" VALUES('submitted','held');
INSERT INTO "moves" VALUES('submitted','submitted');
INSERT INTO "moves" VALUES('submitting','failing');
INSERT INTO "moves" VALUES('submitting','held');
INSERT INTO "moves" VALUES('submitting','staged');
INSERT INTO "moves" VALUES('submitting','submitted');
INSERT INTO "moves" VALUES('submitting','submitting');
INSERT INTO "moves" VALUES('submitting','uploading');
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
    , dropped TEXT NOT NULL DEFAULT '', sent INTEGER NOT NULL DEFAULT 0, confirmed INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO "purchases" VALUES(1,'26149f2d3b52','v2:2b2a61b35a42afb66044095f908d0c4eabe6715587cff905e701662d18cd2ebf','','',1800000003.0,'charged','0.5',0,'',0,0);
INSERT INTO "purchases" VALUES(2,'2d56d32bc322','v2:2d95f5f44fd30610e87e3e709d3f3c893fc29f9c0e256f23672a86dcd4592dbf','','',1800000009.0,'charged','0.5',0,'',0,0);
INSERT INTO "purchases" VALUES(3,'95fc78436f3a','v2:c5b80a68eafc8ac16fca45c2431a21d45363caa388f844cafffb34cdc6370091','','',1800000014.5,'charged','0.5',0,'',0,0);
INSERT INTO "purchases" VALUES(4,'24136e417cd8','v2:0ee9d09c86fd04c5b18dd394f8ec6b2aa633f7ab6b017e42e282379165db83d5','','',1800000020.0,'charged','0.5',0,'',0,0);
INSERT INTO "purchases" VALUES(5,'7dea6ec158ec','v2:ee4de289a5fe587d774d29cba19bc7be6ed8956b090a17742b1dfe96df662008','','',1800000026.0,'charged','0.5',0,'',0,0);
INSERT INTO "purchases" VALUES(6,'17fa840fd449','v2:ee4de289a5fe587d774d29cba19bc7be6ed8956b090a17742b1dfe96df662008','','',1800000031.5,'charged','0.5',0,'',0,0);
INSERT INTO "purchases" VALUES(7,'fb6bcfef235c','v2:f24d73da9fb0553498c7aa75fa653f90d23209c12c6620e5eb548a2b40fd3c4e','','',1800000041.0,'free','0.5',0,'',0,0);
INSERT INTO "purchases" VALUES(8,'786ed9a76dea','v2:9ce18da6c426f6fdd130a44661c39bfc86e696d1ab3cae14107fd8629ffc52d9','','',1800000045.0,'charged','0.5',0,'',0,0);
INSERT INTO "purchases" VALUES(9,'ed8791119677','v2:c2c13ea848abc8c06d588326699384b613e945ed7e8f8522ea27173ac218737c','','',1800000050.5,'charged','0.5',0,'',0,0);
INSERT INTO "purchases" VALUES(10,'ed8791119677','v2:c2c13ea848abc8c06d588326699384b613e945ed7e8f8522ea27173ac218737c','','',1800000054.0,'charged','0.5',0,'',0,0);
INSERT INTO "purchases" VALUES(11,'da548db6ca7c','v2:d3d7e06d9c0cce49e59d312ff94474a714d5e8d7cd5c945253f7643425e3d87c','','',1800000059.5,'unknown','0.5',0,'',1,0);
INSERT INTO "purchases" VALUES(12,'4f6c91b66f94','v2:2b0d17859928f3e280fac43d05dd32c205290648f4c8bbd9e1de9955633f56e6','','',1800000065.5,'open','0.5',0,'',1,0);
INSERT INTO "purchases" VALUES(13,'795c1c86c496','v2:114d40f09c05ed5d4ed606e122992804a5d733e2e4b06cc17557186973841287','','',1800000073.5,'charged','0.5',0,'',0,0);
INSERT INTO "purchases" VALUES(14,'39e15e2c9d48','v2:9b90bbc374dd24961a06273e00235caf7b0482d40cbf234029ecb7aead71f330','','',1800000073.5,'open','0.5',0,'',0,0);
INSERT INTO "purchases" VALUES(15,'d4df985a9f58','v2:7a877ded118cc9a8dc147cd5b49912cdea995bcafd431b547cc830615bdeeec4','','',1800000073.5,'open','0.5',0,'',1,0);
INSERT INTO "purchases" VALUES(16,'e0cb800a5ccd','v2:49d816655294b70ab09db8c21b5ff95d2e165df06f5d5f88ccf1e09937643d05','','',1800000073.5,'charged','0.5',0,'',0,0);
INSERT INTO "purchases" VALUES(17,'b7a8a844a613','v2:f51fc668cd3f530c8530c3681c863dd471cd06255ad55dd38179df9c3889bda4','','',1800000073.5,'charged','0.5',0,'',0,0);
INSERT INTO "purchases" VALUES(18,'58190ffabf98','v2:a61b71f7a2f49e859beea8a32063b2e2f1bf649e1cb6943f6cf55036b8d3feaf','','',1800000073.5,'charged','0.5',0,'',0,0);
INSERT INTO "purchases" VALUES(19,'373e0712c83c','v2:d729b2a744ed46a599d406f37fe72a1805c72ef229d2070f5c34afb8a1952fc2','','',1800000073.5,'charged','0.5',0,'',0,0);
CREATE TABLE results (
        sha256 TEXT NOT NULL,
        job_id TEXT NOT NULL REFERENCES jobs (id),
        PRIMARY KEY (sha256, job_id)
    ) STRICT, WITHOUT ROWID;
INSERT INTO "results" VALUES('02ad23fdbaf0c1d9c67bd4eab8c4a20616d4fdbfd8887e296173883c9599243b','26149f2d3b52');
INSERT INTO "results" VALUES('161de94e5b31fd0080e3686695a3692416403beba60a80a2c40919f151e710da','26149f2d3b52');
INSERT INTO "results" VALUES('3d859547bcab1297e000a4ac7cc10c59d9db42d803f18cd4ca1c4b1019dd708b','17fa840fd449');
INSERT INTO "results" VALUES('3d859547bcab1297e000a4ac7cc10c59d9db42d803f18cd4ca1c4b1019dd708b','7dea6ec158ec');
INSERT INTO "results" VALUES('45e3cf2cf670bed8b1b5cb2b192582f266069b3c944c58499a9c08a3805fa7aa','ed8791119677');
INSERT INTO "results" VALUES('587561d7adba9a57931012910a82f59c5eea8aab3700648ca903188bb34c2219','2d56d32bc322');
INSERT INTO "results" VALUES('894c835a2fd12b41490d1e890c506bae71c39bc6562a75f476c25a059d87e3e1','2d56d32bc322');
INSERT INTO "results" VALUES('95732be00ef8e931f72103018487361fa0d1bf042bcf36e8d5f8228ff540ad4b','ed8791119677');
INSERT INTO "results" VALUES('a719bcdbf2874550787366cff322fc57bded801c5246f74a4a54f78fbffbfe65','24136e417cd8');
INSERT INTO "results" VALUES('b3d84b8e623db64206e6081fae313e000e924f15228a7cada1d46f1d543b411f','24136e417cd8');
INSERT INTO "results" VALUES('bdf91f0a909791ddf63c7a3a5645eb3161865ad3ef98776b80be2bec7ced86fa','17fa840fd449');
INSERT INTO "results" VALUES('bdf91f0a909791ddf63c7a3a5645eb3161865ad3ef98776b80be2bec7ced86fa','7dea6ec158ec');
INSERT INTO "results" VALUES('ed94ab09fa4e9f259bedd8d1ac2dca653de069e7d299e6c277ff1b3923258430','95fc78436f3a');
INSERT INTO "results" VALUES('f47e80f6e6cb37ea1f286e2d73d333c53c08956461de87f43e460e530866c729','95fc78436f3a');
CREATE TABLE service_events (
        id INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        kind TEXT NOT NULL,
        message TEXT NOT NULL
    , subject TEXT NOT NULL DEFAULT '', code TEXT NOT NULL DEFAULT '') STRICT;
INSERT INTO "service_events" VALUES(1,1800000059.5,'paused','submit: A submit got no answer that tells its outcome; the next one waits a while, and longer each time.','submit','');
INSERT INTO "service_events" VALUES(2,1800000061.5,'resumed','submit: A submit got no answer that tells its outcome; the next one waits a while, and longer each time. That is over.','submit','');
INSERT INTO "service_events" VALUES(3,1800000065.5,'paused','submit: A submit got no answer that tells its outcome; the next one waits a while, and longer each time.','submit','');
INSERT INTO "service_events" VALUES(4,1800000067.5,'resumed','submit: A submit got no answer that tells its outcome; the next one waits a while, and longer each time. That is over.','submit','');
INSERT INTO "service_events" VALUES(5,1800000073.5,'paused','submit: The vendor''s account has no credits.','submit','');
INSERT INTO "service_events" VALUES(6,1800000073.5,'offline','outbox (/srv/textures/outbox): the share is away.','outbox','');
INSERT INTO "service_events" VALUES(7,1800000073.5,'paused','backup: The journal''s backup cannot be made: the disk is full.','backup','');
INSERT INTO "service_events" VALUES(8,1800000073.5,'resumed','The journal''s backup is made again.','backup','');
CREATE TABLE tasks (uuid TEXT PRIMARY KEY, job_id TEXT NOT NULL REFERENCES jobs (id)) STRICT;
INSERT INTO "tasks" VALUES('3cf9c00f-ba15-45c6-87ac-6b906308adcd','ed8791119677');
INSERT INTO "tasks" VALUES('46a40cd8-e100-4496-b6b5-4807c39a9123','17fa840fd449');
INSERT INTO "tasks" VALUES('6945ea07-2f39-44cb-8d62-778604a3c68f','26149f2d3b52');
INSERT INTO "tasks" VALUES('8cee7d7e-c05d-4ecc-b617-4c807610d0b9','2d56d32bc322');
INSERT INTO "tasks" VALUES('93f49e0f-b86a-40fd-9e75-34e5b8a01277','95fc78436f3a');
INSERT INTO "tasks" VALUES('99fa124b-c182-4a00-90f6-f90e72df9dcd','7dea6ec158ec');
INSERT INTO "tasks" VALUES('aab2e320-fd44-4f21-8c94-1411ec8c59ce','795c1c86c496');
INSERT INTO "tasks" VALUES('c0c71f5f-5507-4ac3-b434-67552d945b84','24136e417cd8');
INSERT INTO "tasks" VALUES('ecbdc1e5-935a-4a17-b0ee-e32bcb5933e5','786ed9a76dea');
INSERT INTO "tasks" VALUES('task-of-delivered','373e0712c83c');
INSERT INTO "tasks" VALUES('task-of-downloaded','b7a8a844a613');
INSERT INTO "tasks" VALUES('task-of-generated','e0cb800a5ccd');
INSERT INTO "tasks" VALUES('task-of-processed','58190ffabf98');
CREATE UNIQUE INDEX one_live_job_for_each_content ON jobs (fingerprint)
        WHERE fingerprint <> '' AND state NOT IN ('archived', 'failed');
CREATE INDEX jobs_by_state ON jobs (state, changed_at);
CREATE INDEX jobs_by_content ON jobs (fingerprint) WHERE fingerprint <> '';
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
CREATE INDEX purchases_by_time ON purchases (at, cost) WHERE outcome = 'charged';
CREATE INDEX purchases_refused ON purchases (id) WHERE outcome = 'refused';
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
CREATE INDEX purchases_by_content ON purchases (fingerprint);
CREATE INDEX purchases_by_drop ON purchases (dropped) WHERE dropped <> '';
CREATE TRIGGER purchase_was_sent AFTER UPDATE OF state ON jobs
        WHEN NEW.state = 'submitting' OR NEW.state = 'uploading' AND json_extract(NEW.doc, '$.answer') IS NOT NULL
        BEGIN UPDATE purchases SET sent = 1 WHERE job_id = NEW.id AND outcome = 'open' AND NOT sent; END;
CREATE TRIGGER purchase_begins AFTER UPDATE OF state ON jobs
        WHEN NEW.state = 'uploading' AND OLD.state <> 'submitting' AND json_extract(NEW.doc, '$.answer') IS NULL BEGIN
        UPDATE purchases SET outcome = CASE WHEN sent THEN 'refused' ELSE 'free' END
            WHERE job_id = NEW.id AND outcome = 'open';
        INSERT INTO purchases (job_id, fingerprint, dropped, consent, top, at, outcome, cost) VALUES (NEW.id,
            NEW.fingerprint, coalesce(json_extract(NEW.doc, '$.dropped'), ''),
            coalesce(json_extract(NEW.doc, '$.consent'), ''), NEW.top, NEW.changed_at, 'open',
            coalesce(json_extract(NEW.doc, '$.price'), '0.5'));
    END;
CREATE TRIGGER purchase_was_withheld AFTER UPDATE OF state ON jobs
        WHEN OLD.state = 'submitting' AND NEW.state = 'uploading' AND json_extract(NEW.doc, '$.answer') IS NULL
        BEGIN UPDATE purchases SET sent = 0 WHERE job_id = NEW.id AND outcome = 'open'; END;
CREATE TRIGGER purchase_is_charged AFTER UPDATE OF charges ON jobs WHEN NEW.charges > OLD.charges
        BEGIN UPDATE purchases SET outcome = 'charged', told = OLD.state = 'held',
            cost = coalesce(json_extract(NEW.doc, '$.task.credits'),
                CASE WHEN OLD.state = 'held' OR json_extract(NEW.doc, '$.task.uuid') IS NULL THEN cost ELSE '0.5' END)
            WHERE id = (SELECT id FROM purchases WHERE job_id = NEW.id AND outcome <> 'charged'
                ORDER BY outcome = 'open' DESC, outcome IN ('refused', 'unknown') DESC, id DESC LIMIT 1); END;
CREATE TRIGGER results_came AFTER UPDATE OF state ON jobs WHEN NEW.state = 'downloaded' BEGIN
        INSERT INTO results
            SELECT DISTINCT made, NEW.id FROM (SELECT json_extract(value, '$.sha256') AS made FROM json_each(NEW.doc, '$.results'))
            WHERE NOT EXISTS (SELECT 1 FROM results WHERE sha256 = made AND job_id = NEW.id);
    END;
CREATE TRIGGER results_were_processed AFTER UPDATE OF state ON jobs WHEN NEW.state = 'processed' BEGIN
        INSERT INTO results
            SELECT DISTINCT made, NEW.id FROM (SELECT json_extract(value, '$.sha256') AS made FROM json_each(NEW.doc, '$.processed'))
            WHERE NOT EXISTS (SELECT 1 FROM results WHERE sha256 = made AND job_id = NEW.id);
    END;
CREATE TRIGGER task_is_kept_1 AFTER INSERT ON jobs WHEN NEW.task_uuid IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM tasks WHERE uuid = NEW.task_uuid)
        BEGIN INSERT INTO tasks (uuid, job_id) VALUES (NEW.task_uuid, NEW.id); END;
CREATE TRIGGER task_is_kept_2 AFTER UPDATE OF task_uuid ON jobs WHEN NEW.task_uuid IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM tasks WHERE uuid = NEW.task_uuid)
        BEGIN INSERT INTO tasks (uuid, job_id) VALUES (NEW.task_uuid, NEW.id); END;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('gate',2);
COMMIT;
PRAGMA user_version = 3;
