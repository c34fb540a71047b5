-- Stripe's webhook, its body and signature as the application received them:
SELECT skene_stripe_webhook(:'payload', :'signature');
-- Stripe repeats itself:
SELECT skene_stripe_webhook(:'payload', :'signature');
-- Anybody can send us an event:
SELECT skene_stripe_webhook(:'payload', :'forged_signature');
