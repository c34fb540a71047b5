-- a denial that asks for an upgrade
SELECT skene_consume('wire' || nextval('bench.wires'), 'mail', 2);
