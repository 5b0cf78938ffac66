-- What is deferred to the commit is looked at now, and again then: constraints stay as they are.
SAVEPOINT committable;
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK TO SAVEPOINT committable;
RELEASE SAVEPOINT committable
