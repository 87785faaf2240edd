-- What the migrations leave in an empty SQLite database. Written by `make generate`; not edited by hand.
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0009');
CREATE TABLE blessings (
	namespace VARCHAR(63) NOT NULL,
	model_key VARCHAR(253) NOT NULL,
	number INTEGER NOT NULL,
	act VARCHAR(16) NOT NULL,
	from_version INTEGER,
	to_version INTEGER NOT NULL,
	who VARCHAR(253) NOT NULL,
	why VARCHAR(1024) NOT NULL,
	at DATETIME NOT NULL,
	PRIMARY KEY (namespace, model_key, number)
);
CREATE TABLE cells (
	search_id VARCHAR(128) NOT NULL,
	ordinal BIGINT NOT NULL,
	score FLOAT,
	result TEXT NOT NULL,
	reported_by INTEGER NOT NULL,
	reported_at DATETIME NOT NULL,
	reports INTEGER NOT NULL, identity VARCHAR(32), reused_from VARCHAR(128),
	PRIMARY KEY (search_id, ordinal),
	FOREIGN KEY(search_id) REFERENCES searches (id) ON DELETE CASCADE
)
 WITHOUT ROWID
;
CREATE TABLE deaths (
	search_id VARCHAR(128) NOT NULL,
	unit BIGINT NOT NULL,
	claimant VARCHAR(128) NOT NULL,
	holder INTEGER NOT NULL,
	at DATETIME NOT NULL,
	PRIMARY KEY (search_id, unit, claimant),
	FOREIGN KEY(search_id) REFERENCES searches (id) ON DELETE CASCADE
);
CREATE TABLE erasures (
	pseudonym VARCHAR(32) NOT NULL,
	at DATETIME NOT NULL,
	versions BIGINT NOT NULL,
	blessings BIGINT NOT NULL,
	PRIMARY KEY (pseudonym)
);
CREATE TABLE files (
	search_id VARCHAR(128) NOT NULL,
	name VARCHAR(64) NOT NULL,
	namespace VARCHAR(63) NOT NULL,
	size_bytes BIGINT NOT NULL,
	sha256 VARCHAR(64) NOT NULL,
	placing_since DATETIME,
	PRIMARY KEY (search_id, name)
);
CREATE TABLE hyperparameter_audit (
	namespace VARCHAR(63) NOT NULL,
	model_key VARCHAR(253) NOT NULL,
	version INTEGER NOT NULL,
	search_id VARCHAR(128) NOT NULL,
	best_params TEXT NOT NULL,
	score FLOAT,
	metric VARCHAR(64) NOT NULL,
	std FLOAT,
	fits BIGINT NOT NULL,
	failed_fits BIGINT NOT NULL,
	duration_seconds FLOAT NOT NULL,
	finished_at DATETIME NOT NULL,
	data_digest VARCHAR(128) NOT NULL,
	versions TEXT NOT NULL, split_digest VARCHAR(128) DEFAULT '' NOT NULL, estimator_digest VARCHAR(128) DEFAULT '' NOT NULL, image VARCHAR(512) DEFAULT '' NOT NULL, seed VARCHAR(1024) DEFAULT '' NOT NULL, created_by VARCHAR(253) DEFAULT '' NOT NULL, artifacts VARCHAR(1024) DEFAULT '' NOT NULL, reused_from TEXT, files TEXT, scores TEXT, choice TEXT, baseline TEXT, nested TEXT, pruned_fits BIGINT DEFAULT '0' NOT NULL,
	PRIMARY KEY (namespace, model_key, version)
);
CREATE TABLE regions (
	search_id VARCHAR(128) NOT NULL,
	number INTEGER NOT NULL,
	start BIGINT NOT NULL,
	next BIGINT NOT NULL,
	stop BIGINT NOT NULL,
	seconds FLOAT DEFAULT '0' NOT NULL,
	measured BIGINT DEFAULT '0' NOT NULL,
	PRIMARY KEY (search_id, number),
	FOREIGN KEY(search_id) REFERENCES searches (id) ON DELETE CASCADE
);
CREATE TABLE schema_version (
	revision VARCHAR(32) NOT NULL,
	read_since VARCHAR(32) NOT NULL,
	PRIMARY KEY (revision)
);
INSERT INTO "schema_version" VALUES('0009','0.1.0');
CREATE TABLE searches (
	id VARCHAR(128) NOT NULL,
	namespace VARCHAR(63) NOT NULL,
	name VARCHAR(253) NOT NULL,
	model_key VARCHAR(253) NOT NULL,
	spec TEXT NOT NULL,
	candidates BIGINT NOT NULL,
	splits INTEGER NOT NULL,
	pods INTEGER NOT NULL,
	state VARCHAR(16) NOT NULL,
	revision INTEGER NOT NULL,
	opened_at DATETIME NOT NULL,
	started_at DATETIME,
	finished_at DATETIME,
	preflight TEXT,
	refusal TEXT,
	failure TEXT,
	answer TEXT,
	model_version INTEGER,
	done BIGINT NOT NULL,
	failed BIGINT NOT NULL,
	finisher INTEGER, walk TEXT, reused BIGINT DEFAULT '0' NOT NULL, deaths INTEGER DEFAULT '0' NOT NULL, best_index BIGINT, best_score FLOAT, deleted_at DATETIME, image VARCHAR(512) DEFAULT '' NOT NULL, created_by VARCHAR(253) DEFAULT '' NOT NULL, artifacts VARCHAR(1024) DEFAULT '' NOT NULL, memory_limit BIGINT DEFAULT '0' NOT NULL, ended_by VARCHAR(16), end_reason VARCHAR(64) DEFAULT '' NOT NULL, pruned BIGINT DEFAULT '0' NOT NULL,
	PRIMARY KEY (id)
);
CREATE TABLE "units" (
	search_id VARCHAR(128) NOT NULL,
	id BIGINT NOT NULL,
	start BIGINT NOT NULL,
	stop BIGINT NOT NULL,
	remaining INTEGER NOT NULL,
	holder INTEGER,
	claimant VARCHAR(128),
	deaths INTEGER DEFAULT '0' NOT NULL,
	memory BIGINT DEFAULT '0' NOT NULL,
	starved BIGINT DEFAULT '0' NOT NULL,
	victims TEXT,
	PRIMARY KEY (search_id, id),
	FOREIGN KEY(search_id) REFERENCES searches (id) ON DELETE CASCADE
);
CREATE INDEX cells_identity ON cells (identity) WHERE identity IS NOT NULL;
CREATE TRIGGER hyperparameter_audit_refuses_delete BEFORE DELETE ON hyperparameter_audit BEGIN SELECT RAISE(ABORT, 'hyperparameter_audit is append-only: no row is ever changed or removed'); END;
CREATE TRIGGER blessings_refuses_delete BEFORE DELETE ON blessings BEGIN SELECT RAISE(ABORT, 'blessings is append-only: no row is ever changed or removed'); END;
CREATE VIEW best_hyperparameters AS SELECT model_key, best_params AS best_params_json, score AS best_accuracy, duration_seconds AS search_duration_seconds, finished_at AS optimized_at FROM hyperparameter_audit;
CREATE INDEX units_open ON units (search_id, remaining, holder, starved);
CREATE INDEX cells_reused ON cells (search_id, reused_from) WHERE reused_from IS NOT NULL;
CREATE INDEX files_namespace ON files (namespace);
CREATE TRIGGER hyperparameter_audit_refuses_replace BEFORE INSERT ON hyperparameter_audit WHEN EXISTS (SELECT 1 FROM hyperparameter_audit WHERE namespace = NEW.namespace AND model_key = NEW.model_key AND version = NEW.version) BEGIN SELECT RAISE(ABORT, 'hyperparameter_audit is append-only: no row is ever changed or removed'); END;
CREATE TRIGGER blessings_refuses_replace BEFORE INSERT ON blessings WHEN EXISTS (SELECT 1 FROM blessings WHERE namespace = NEW.namespace AND model_key = NEW.model_key AND number = NEW.number) BEGIN SELECT RAISE(ABORT, 'blessings is append-only: no row is ever changed or removed'); END;
CREATE TRIGGER hyperparameter_audit_refuses_names BEFORE UPDATE OF created_by ON hyperparameter_audit WHEN NEW.created_by NOT LIKE 'erased-%' BEGIN SELECT RAISE(ABORT, 'hyperparameter_audit is append-only: no row is ever changed or removed'); END;
CREATE TRIGGER blessings_refuses_update BEFORE UPDATE OF namespace, model_key, number, act, from_version, to_version, why, at ON blessings BEGIN SELECT RAISE(ABORT, 'blessings is append-only: no row is ever changed or removed'); END;
CREATE TRIGGER blessings_refuses_names BEFORE UPDATE OF who ON blessings WHEN NEW.who NOT LIKE 'erased-%' BEGIN SELECT RAISE(ABORT, 'blessings is append-only: no row is ever changed or removed'); END;
CREATE TRIGGER hyperparameter_audit_refuses_update BEFORE UPDATE OF namespace, model_key, version, search_id, best_params, score, metric, std, fits, failed_fits, duration_seconds, finished_at, data_digest, versions, split_digest, estimator_digest, image, seed, artifacts, reused_from, files, scores, choice, baseline, nested, pruned_fits ON hyperparameter_audit BEGIN SELECT RAISE(ABORT, 'hyperparameter_audit is append-only: no row is ever changed or removed'); END;
