import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'

/** How long a statement waits for another process's write. It blocks this process, hence so short. */
const busyTimeoutMs = 2_000
const busyRetryMs = 5
/** https://www.sqlite.org/rescode.html#busy */
const sqliteBusy = 5

/** The first makes a file of version 1 of an empty one, the next one version 2 of that, and so on. Never changed, only added to. */
const migrations = [
  `
  CREATE TABLE stock (
    item TEXT PRIMARY KEY,
    quantity INTEGER NOT NULL CHECK (quantity >= 0),
    token INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE TABLE orders (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    idempotency_key TEXT UNIQUE,
    customer TEXT NOT NULL,
    item TEXT NOT NULL REFERENCES stock (item),
    quantity INTEGER NOT NULL,
    placed_at_ms INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'queued',
    node TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    print_token INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE INDEX orders_by_status ON orders (status, number);
  INSERT INTO stock (item, quantity) VALUES
    ('flyer', 100000), ('business-card', 50000), ('poster', 2000), ('letterpress', 30);
`,
  `
  CREATE TABLE clean_ups (
    scheduled_at_ms INTEGER NOT NULL,
    node TEXT NOT NULL,
    token INTEGER NOT NULL,
    removed INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX clean_ups_by_token ON clean_ups (token);
`,
  `
  CREATE TABLE settings (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    max_quantity INTEGER NOT NULL
  ) STRICT;
  INSERT INTO settings (id, max_quantity) VALUES (1, 10000);
`,
  // A job of the queue, and when it was added.
  `
  ALTER TABLE orders ADD COLUMN job_at_ms INTEGER;
`,
  // Orders that were taken before, or by a program of an earlier version, have no price.
  `
  CREATE TABLE catalogue (
    item TEXT PRIMARY KEY REFERENCES stock (item),
    price_cents INTEGER NOT NULL CHECK (price_cents > 0)
  ) STRICT;
  INSERT INTO catalogue (item, price_cents)
    SELECT item, CASE item WHEN 'flyer' THEN 9 WHEN 'business-card' THEN 25 WHEN 'poster' THEN 1250 ELSE 4800 END
    FROM stock;
  ALTER TABLE orders ADD COLUMN price_cents INTEGER;
`,
]

/**
 * The records of the shop, in one file that all nodes of one machine may share. A commit is on disk when the call
 * returns. The first process to come fills the stock and the catalogue.
 */
export function openDatabase(dataFolder: string): DatabaseSync {
  const database = new DatabaseSync(path.join(dataFolder, 'shop.sqlite'), { timeout: busyTimeoutMs })
  try {
    writeAhead(database)
    inTransaction(database, () => prepareSchema(database))
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

/** All of `work` or nothing; it must not wait, because the whole file is locked against other writers meanwhile. */
export function inTransaction<T>(database: DatabaseSync, work: () => T): T {
  database.exec('BEGIN IMMEDIATE')
  try {
    const result = work()
    database.exec('COMMIT')
    return result
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK')
    throw error
  }
}

/**
 * SQLite does not wait here, whatever the timeout: this reads the file before it writes, and two processes that do so
 * would wait for each other (https://www.sqlite.org/c3ref/busy_handler.html). So of two nodes that start at once on a
 * new file one would be refused.
 */
function writeAhead(database: DatabaseSync): void {
  const deadlineMs = performance.now() + busyTimeoutMs
  for (;;) {
    try {
      database.exec('PRAGMA journal_mode = WAL')
      return
    } catch (error) {
      if (!isBusy(error) || performance.now() > deadlineMs) throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, busyRetryMs)
    }
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && error.errcode === sqliteBusy
}

/** A file of an earlier version is brought up to date; its records stay. */
function prepareSchema(database: DatabaseSync): void {
  const version = Number(database.prepare('PRAGMA user_version').get()?.['user_version'])
  if (version > migrations.length) {
    throw new Error(`shop.sqlite has version ${version}, this program knows ${migrations.length}`)
  }
  for (const migration of migrations.slice(version)) database.exec(migration)
  database.exec(`PRAGMA user_version = ${migrations.length}`)
}
