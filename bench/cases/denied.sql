-- `skene_consume`, denied
SELECT skene_consume('full', 'trial');
