-- What is deferred to the commit is looked at now.
SET CONSTRAINTS ALL IMMEDIATE
