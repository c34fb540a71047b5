-- `skene_consume`, one hot customer
SELECT skene_consume('hot', 'export');
