package keys;

import io.lettuce.core.ClientOptions;
import io.lettuce.core.KeyScanCursor;
import io.lettuce.core.RedisClient;
import io.lettuce.core.RedisFuture;
import io.lettuce.core.RedisURI;
import io.lettuce.core.ScanArgs;
import io.lettuce.core.SetArgs;
import io.lettuce.core.TrackingArgs;
import io.lettuce.core.TransactionResult;
import io.lettuce.core.api.StatefulRedisConnection;
import io.lettuce.core.api.async.RedisAsyncCommands;
import io.lettuce.core.api.sync.RedisCommands;
import io.lettuce.core.protocol.ProtocolVersion;
import io.lettuce.core.pubsub.RedisPubSubAdapter;
import io.lettuce.core.pubsub.StatefulRedisPubSubConnection;
import io.lettuce.core.support.caching.CacheAccessor;
import io.lettuce.core.support.caching.CacheFrontend;
import io.lettuce.core.support.caching.ClientSideCaching;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import redis.clients.jedis.DefaultJedisClientConfig;
import redis.clients.jedis.HostAndPort;
import redis.clients.jedis.Jedis;
import redis.clients.jedis.JedisPubSub;
import redis.clients.jedis.Pipeline;
import redis.clients.jedis.Response;
import redis.clients.jedis.Transaction;
import redis.clients.jedis.params.ScanParams;
import redis.clients.jedis.params.SetParams;
import redis.clients.jedis.resps.ScanResult;

/** One exercise with the server's keys, which checks itself: HOST PORT EXERCISE. */
public final class Exercises {
  private static final long DEADLINE_S = 30;
  private static String host;
  private static int port;

  /** What may fail. */
  interface Exercise {
    void run() throws Exception;
  }

  private Exercises() {}

  public static void main(String[] words) {
    host = words[0];
    port = Integer.parseInt(words[1]);
    Map<String, Exercise> all =
        Map.of(
            "jedis", Exercises::jedis,
            "lettuce", Exercises::lettuce,
            "client-side caching", Exercises::copies,
            "recovery", Exercises::recovery);
    try {
      all.get(words[2]).run();
      System.out.println("done");
      System.exit(0); // whatever threads are left
    } catch (Throwable why) {
      why.printStackTrace();
      System.exit(1);
    }
  }

  private static void same(Object found, Object expected) {
    if (!String.valueOf(found).equals(String.valueOf(expected))) {
      throw new AssertionError(found + ", expected " + expected);
    }
  }

  private static void until(String what, BooleanSupplier holds) throws InterruptedException {
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(DEADLINE_S);
    while (!holds.getAsBoolean()) {
      if (System.nanoTime() > end) {
        throw new AssertionError("in vain: " + what);
      }
      Thread.sleep(10);
    }
  }

  private static <T> T next(BlockingQueue<T> from) throws InterruptedException {
    T it = from.poll(DEADLINE_S, TimeUnit.SECONDS);
    if (it == null) {
      throw new AssertionError("in vain: a message");
    }
    return it;
  }

  private static RedisClient lettuceClient(ProtocolVersion version) {
    RedisClient client = RedisClient.create(RedisURI.create(host, port));
    client.setOptions(ClientOptions.builder().protocolVersion(version).build());
    return client;
  }

  private static Jedis open() {
    return new Jedis(
        new HostAndPort(host, port),
        DefaultJedisClientConfig.builder().timeoutMillis((int) DEADLINE_S * 1000).build());
  }

  /** A cache with times to live, a lock, a pipeline, a transaction, a queue, messages beside. */
  private static void jedis() throws Exception {
    try (Jedis client = open();
        Jedis other = open()) {
      client.flushDB();
      client.setex("a", 100, "1");
      same(client.get("a") + client.ttl("a"), "1100");
      client.psetex("short", 1, "1");
      until("that it expires", () -> client.get("short") == null);
      same(client.set("lock", "me", SetParams.setParams().nx().px(30_000)), "OK");
      same(other.set("lock", "you", SetParams.setParams().nx().px(30_000)), null);
      Pipeline pipeline = client.pipelined();
      List<Response<Long>> found = new ArrayList<>();
      for (int n = 0; n < 1000; n++) {
        found.add(pipeline.incr("n"));
      }
      pipeline.sync();
      same(found.get(999).get(), 1000);
      client.watch("n");
      other.incr("n");
      Transaction lost = client.multi();
      lost.set("n", "0");
      same(lost.exec(), null);
      Transaction done = client.multi();
      done.hset("h", Map.of("f", "1"));
      done.hgetAll("h");
      same(done.exec(), "[1, {f=1}]");
      CompletableFuture<List<String>> popped =
          CompletableFuture.supplyAsync(
              () -> {
                try (Jedis third = open()) {
                  return third.blpop(20, "queue");
                }
              });
      other.rpush("queue", "job");
      same(popped.get(DEADLINE_S, TimeUnit.SECONDS), "[queue, job]");
      BlockingQueue<String> heard = new LinkedBlockingQueue<>();
      Thread listening =
          new Thread(
              () -> {
                try (Jedis third = open()) {
                  third.psubscribe(
                      new JedisPubSub() {
                        @Override
                        public void onPMessage(String pattern, String channel, String message) {
                          heard.add(pattern + " " + channel + " " + message);
                          punsubscribe();
                        }
                      },
                      "news:*");
                }
              });
      listening.start();
      until("the listener", () -> other.publish("news:1", "hello") == 1);
      same(next(heard), "news:* news:1 hello");
      listening.join();
      client.zadd("z", Map.of("a", 1.5));
      same(client.zpopmin("z"), "[a,1.5]");
      TreeSet<String> keys = new TreeSet<>();
      String cursor = ScanParams.SCAN_POINTER_START;
      do {
        ScanResult<String> some = client.scan(cursor, new ScanParams().count(2));
        keys.addAll(some.getResult());
        cursor = some.getCursor();
      } while (!cursor.equals(ScanParams.SCAN_POINTER_START));
      same(keys, "[a, h, lock, n]");
    }
  }

  private static void lettuce() throws Exception {
    for (ProtocolVersion version : List.of(ProtocolVersion.RESP2, ProtocolVersion.RESP3)) {
      RedisClient client = lettuceClient(version);
      StatefulRedisConnection<String, String> connection = client.connect();
      RedisCommands<String, String> commands = connection.sync();
      commands.flushdb();
      commands.setex("a", 100, "1");
      same(commands.get("a") + commands.ttl("a"), "1100");
      same(commands.set("lock", "me", SetArgs.Builder.nx().px(30_000)), "OK");
      same(commands.set("lock", "you", SetArgs.Builder.nx().px(30_000)), null);
      RedisAsyncCommands<String, String> async = connection.async();
      connection.setAutoFlushCommands(false);
      List<RedisFuture<Long>> found = new ArrayList<>();
      for (int n = 0; n < 1000; n++) {
        found.add(async.incr("n"));
      }
      connection.flushCommands();
      connection.setAutoFlushCommands(true);
      same(found.get(999).get(DEADLINE_S, TimeUnit.SECONDS), 1000);
      commands.multi();
      commands.hset("h", Map.of("f", "1"));
      commands.hgetall("h");
      TransactionResult done = commands.exec();
      same(done.get(1), "{f=1}");
      RedisFuture<?> popped = client.connect().async().blpop(20, "queue");
      commands.rpush("queue", "job");
      same(popped.get(DEADLINE_S, TimeUnit.SECONDS), "KeyValue[queue, job]");
      BlockingQueue<String> heard = new LinkedBlockingQueue<>();
      StatefulRedisPubSubConnection<String, String> listening = client.connectPubSub();
      listening.addListener(
          new RedisPubSubAdapter<>() {
            @Override
            public void message(String pattern, String channel, String message) {
              heard.add(pattern + " " + channel + " " + message);
            }
          });
      listening.sync().psubscribe("news:*");
      same(commands.publish("news:1", "hello"), 1);
      same(next(heard), "news:* news:1 hello");
      TreeSet<String> keys = new TreeSet<>();
      KeyScanCursor<String> cursor = commands.scan(ScanArgs.Builder.limit(2));
      keys.addAll(cursor.getKeys());
      while (!cursor.isFinished()) {
        cursor = commands.scan(cursor, ScanArgs.Builder.limit(2));
        keys.addAll(cursor.getKeys());
      }
      same(keys, "[a, h, lock, n]");
      client.shutdown();
    }
  }

  /** Lettuce keeps copies on its side, and is told when they are void. */
  private static void copies() throws Exception {
    StatefulRedisConnection<String, String> connection =
        lettuceClient(ProtocolVersion.RESP3).connect();
    RedisCommands<String, String> other = lettuceClient(ProtocolVersion.RESP2).connect().sync();
    Map<String, String> copies = new ConcurrentHashMap<>();
    CacheFrontend<String, String> cache =
        ClientSideCaching.enable(
            CacheAccessor.forMap(copies), connection, TrackingArgs.Builder.enabled());
    other.set("copy", "1");
    same(cache.get("copy"), "1");
    same(copies, "{copy=1}");
    same(cache.get("copy"), "1");
    other.set("copy", "2");
    until("that the copy is void", copies::isEmpty);
    same(cache.get("copy"), "2");
    other.pexpire("copy", 1);
    until("that the copy is void", copies::isEmpty);
  }

  /** The server is killed and comes back. */
  private static void recovery() throws Exception {
    RedisClient client = lettuceClient(ProtocolVersion.RESP3);
    RedisCommands<String, String> commands = client.connect().sync();
    commands.setex("lasting", 1000, "1");
    commands.rpush("jobs", "one", "two");
    BlockingQueue<String> heard = new LinkedBlockingQueue<>();
    StatefulRedisPubSubConnection<String, String> listening = client.connectPubSub();
    listening.addListener(
        new RedisPubSubAdapter<>() {
          @Override
          public void message(String channel, String message) {
            heard.add(message);
          }
        });
    listening.sync().subscribe("news");
    System.out.println("ready");
    System.in.read();
    same(commands.get("lasting"), "1");
    same(commands.ttl("lasting") > 900, true);
    same(commands.lrange("jobs", 0, -1), "[one, two]");
    until("its listener", () -> commands.publish("news", "again") == 1);
    same(next(heard), "again");
  }
}
