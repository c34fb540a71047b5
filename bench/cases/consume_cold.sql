-- `skene_consume`, the first use of each customer since the server started
SELECT skene_consume(nextval('bench.everybody')::text, 'export');
