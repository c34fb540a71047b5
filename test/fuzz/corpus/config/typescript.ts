import { defineConfig } from "@skene/sdk";

/* every kind of word that the parser knows */
const unused = null as const;
export default defineConfig({
  plans: { free: { default: true, }, 'pro': { rank: 1, prices: `price_1` } },
  features: {
    export: { limit: { free: 1_000, paid: Infinity }, period: "month", warnAt: 80, upgradePrompt: false },
    print: { limit: 1e3, period: 'week', message: "it\u0027s \x41 \u{1F600}" }, // the end
  },
} satisfies Config);
