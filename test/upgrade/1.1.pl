#!/usr/bin/perl
# 1.1.pl: version 1.1's install script from that of 1.0, for the tests only: the changes
# of 1.0--1.1.sql, made where a person would make them in src/schema.
use strict;
use warnings;

local $/;
my $script = <>;

# Make a change, in exactly one place.
sub change
{
	my ($pattern, $replacement) = @_;
	my $places = $script =~ s/$pattern/$replacement->()/ges;
	die "1.1.pl: " . ($places || 0) . " places instead of one for $pattern\n" unless $places == 1;
	return;
}

change(qr/(CREATE TABLE skene\.customers \(.*?)\n\);/s, sub { <<"SQL" });
$1,
    country text NOT NULL DEFAULT '' CHECK (country ~ '^([A-Z]{2})?\$')
);
COMMENT ON COLUMN skene.customers.country IS 'ISO 3166 code';
SQL

change(qr/(CREATE INDEX conversions_feature) .*?;/s,
	sub { "$1 ON skene.conversions (feature, kind);" });

change(qr/(CREATE FUNCTION skene\.next_due\(\).*?LANGUAGE )plpgsql(.*?\$\$\n).*?\$\$;/s, sub { <<"SQL" });
$1sql$2    SELECT p.name,
           EXISTS (SELECT FROM skene.outbox d
                    WHERE d.provider = p.name AND d.state = 'pending'
                      AND d.next_attempt_at <= skene.gate_time()),
           (SELECT min(coalesce(o.lease_expires_at, o.next_attempt_at)) FROM skene.outbox o
             WHERE o.provider = p.name AND o.state IN ('pending', 'leased')
               AND coalesce(o.lease_expires_at, o.next_attempt_at) > skene.gate_time())
      FROM (VALUES ('resend'), ('stripe')) AS p (name)
\$\$;
SQL

change(qr/(CREATE VIEW skene\.outbox_stats AS.*?AS max_attempts)\b/s,
	sub { "$1,\n       min(next_attempt_at) AS next_attempt_at" });

change(qr/(?=-- closing\.sql:)/s, sub { <<'SQL' });
CREATE TABLE skene.remarks (
    remark_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id    skene.user_id NOT NULL,
    remark     text NOT NULL
);
CREATE INDEX remarks_user ON skene.remarks (user_id);
COMMENT ON TABLE skene.remarks IS 'What people wrote about a customer';

CREATE FUNCTION @extschema@.skene_remark(user_id text, remark text) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
    INSERT INTO skene.remarks (user_id, remark) VALUES ($1, $2) RETURNING remark_id
$$;
COMMENT ON FUNCTION @extschema@.skene_remark(text, text) IS
'Write a remark about a customer. Example: SELECT skene_remark(''u1'', ''called today'')';

SQL

print $script;
