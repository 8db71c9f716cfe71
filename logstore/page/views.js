// Which views there are: a row each. The word is the first one of its address, and the key goes to it after g.

export const VIEWS = [
  { word: "overview", title: "Overview", key: "o", load: () => import("./views/overview.js") },
  { word: "topics", title: "Topics", key: "t", load: () => import("./views/topics.js") },
  { word: "groups", title: "Groups", key: "g", load: () => import("./views/groups.js") },
  { word: "transactions", title: "Transactions", key: "x", load: () => import("./views/transactions.js") },
  { word: "queues", title: "Queues", key: "q", load: () => import("./views/queues.js") },
  { word: "routing", title: "Routing", key: "r", load: () => import("./views/routing.js") },
  { word: "channels", title: "Channels", key: "c", load: () => import("./views/channels.js") },
  { word: "keys", title: "Keys", key: "k", load: () => import("./views/keys.js") },
  { word: "connections", title: "Connections", key: "n", load: () => import("./views/connections.js") },
  { word: "server", title: "Server", key: "s", load: () => import("./views/server.js") },
];
