-- The plan is another, and what was used still counts:
SELECT allowed, reason, plan, used, usage_limit FROM skene_decide('acme', 'api_features');
