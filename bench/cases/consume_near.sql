-- `skene_consume`, near the limit: take one of 16 units, give it back
SELECT skene_consume('near', 'seat') AS taken \gset
\if :taken
SELECT skene_refund('near', 'seat');
\endif
