export default {
  "features": { 'print': { limit: { free: 1_0, paid: +1e3 }, period: 'year', endpoints: 'GET /a/*/b', message: null } },
  settings: { productName: 'Zoë's "shop" \u{1F600}\x41\u0027', replyTo: `a@b` },
} as const;
