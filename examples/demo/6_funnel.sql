-- From the limit to the money (amounts in cents):
SELECT * FROM skene.funnel;
