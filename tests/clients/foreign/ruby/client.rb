# One exercise with a server, which checks itself: client.rb HOST PORT EXERCISE.
require "timeout"

HOST, PORT = ARGV[0], Integer(ARGV[1])
DEADLINE_S = 30

def same(found, expected)
  raise "#{found.inspect}, expected #{expected.inspect}" unless found == expected
end

def soon(&block)
  Timeout.timeout(DEADLINE_S, &block)
end

# Rails' cache: all that ActiveSupport's store for Redis does.
def rails_cache
  require "active_support"
  require "active_support/cache"
  require "active_support/cache/redis_cache_store"
  require "active_support/notifications"
  failed = []
  store = ActiveSupport::Cache::RedisCacheStore.new(
    url: "redis://#{HOST}:#{PORT}/1", namespace: "rails", expires_in: 90,
    error_handler: ->(method:, returning:, exception:) { failed << [method, exception.to_s] }
  )
  store.clear
  same(store.write("a", { b: [1, 2] }) ? true : false, true)
  same(store.read("a"), { b: [1, 2] })
  same(store.exist?("a"), true)
  calls = 0
  3.times { same(store.fetch("slow") { calls += 1 }, 1) }
  store.write_multi({ "x" => 1, "y" => 2 }, expires_in: 30)
  same(store.read_multi("x", "y", "z"), { "x" => 1, "y" => 2 })
  same(store.fetch_multi("x", "new") { |name| "#{name}!" }, { "x" => 1, "new" => "new!" })
  same(store.increment("hits"), 1)
  same(store.increment("hits", 4, expires_in: 100), 5)
  same(store.decrement("hits", 2), 3)
  same(store.write("once", 1, unless_exist: true), true)
  same(store.write("once", 2, unless_exist: true), false)
  store.write("raced", "old", expires_in: 0.01, race_condition_ttl: 60)
  soon { sleep 0.01 until store.read("raced").nil? }
  50.times { |n| store.write("page:#{n}", n) }
  store.delete_matched("page:*")
  same(store.read_multi(*(0...50).map { |n| "page:#{n}" }), {})
  same(store.delete("a"), 1)
  same(store.delete_multi(%w[x y none]), 2)
  store.write("large", "x" * 1_000_000)
  same(store.read("large").size, 1_000_000)
  redis = Redis.new(host: HOST, port: PORT, db: 1)
  redis.set("beside", 1)
  store.clear # its own names alone
  same(redis.keys("*"), ["beside"])
  redis.flushdb
  same(failed, [])
end

# The client beneath: a lock, a pipeline, a transaction, a queue, messages beside.
def redis
  require "redis"
  client, other = Redis.new(host: HOST, port: PORT, db: 2), Redis.new(host: HOST, port: PORT, db: 2)
  client.setex("a", 100, 1)
  same([client.get("a"), client.ttl("a")], ["1", 100])
  same(client.set("lock", "me", nx: true, px: 30_000), true)
  same(other.set("lock", "you", nx: true, px: 30_000), false)
  same(client.pipelined { |it| 1000.times { it.incr("n") } }.last, 1000)
  same(client.multi { |it| it.hset("h", "f", 1); it.hgetall("h") }, [1, { "f" => "1" }])
  client.watch("n") do
    other.incr("n")
    same(client.multi { |it| it.set("n", 0) }, nil)
  end
  popped = Thread.new { Redis.new(host: HOST, port: PORT, db: 2).blpop("queue", timeout: 20) }
  client.rpush("queue", "job")
  same(popped.value, ["queue", "job"])
  heard = Queue.new
  listening = Thread.new do
    Redis.new(host: HOST, port: PORT).psubscribe("rb:*") do |on|
      on.psubscribe { heard << :there }
      on.pmessage { |*said| heard << said }
    end
  end
  same(soon { heard.pop }, :there)
  same(client.publish("rb:1", "hello"), 1)
  same(soon { heard.pop }, ["rb:*", "rb:1", "hello"])
  listening.kill
  client.zadd("z", [[1.5, "a"], [2, "b"]])
  same(client.zpopmin("z"), ["a", 1.5])
  same(client.scan_each(count: 2).to_a.uniq.sort, %w[a h lock n z])
  client.flushdb
end

# Sidekiq: jobs at once, one at a time, one that fails first, by a worker in a process of its own.
def sidekiq
  ENV["REDIS_URL"] = "redis://#{HOST}:#{PORT}/3"
  job = File.join(__dir__, "job.rb")
  worker = spawn("sidekiq", "-r", job, "-c", "2", %i[out err] => "/dev/null")
  begin
    require job
    require "sidekiq/api"
    5.times { |n| Job.perform_async(n) }
    Job.perform_in(1, 9)
    soon { sleep 0.05 until Sidekiq.redis { |it| it.llen("done") } == 6 }
    same(Sidekiq.redis { |it| it.lrange("done", 0, -1) }.sort, %w[0 1 2 3 4 9])
    same(Sidekiq.redis { |it| it.get("tried:3") }, "2")
    same([Sidekiq::Queue.new.size, Sidekiq::ScheduledSet.new.size, Sidekiq::RetrySet.new.size], [0, 0, 0])
    same(Sidekiq::ProcessSet.new.size, 1)
  ensure
    Process.kill("TERM", worker)
    Process.wait(worker)
  end
  soon { sleep 0.05 until Sidekiq::ProcessSet.new.size == 0 }
  Sidekiq.redis(&:flushdb)
end

# The stomp gem: acknowledgements, a transaction, a receipt, headers that have to be escaped.
def stomp
  require "stomp"
  %w[1.0 1.1 1.2].each do |version|
    headers = { "accept-version" => version, "host" => "/", "heart-beat" => "5000,5000" }
    client = Stomp::Client.new(
      hosts: [{ login: "guest", passcode: "guest", host: HOST, port: PORT }],
      connect_headers: headers, reliable: false, logger: Stomp::NullLogger.new
    )
    same(client.protocol, version)
    queue, heard = "/queue/ruby-#{version}", Queue.new
    client.subscribe(queue, { "ack" => "client", "id" => "1" }) { |it| heard << it }
    said = version == "1.0" ? "plain" : "a:b\nc\\d"
    3.times { |n| client.publish(queue, "gr\u00fc\u00dfe #{n}", { "kind" => said, "persistent" => "true" }) }
    found = 3.times.map { soon { heard.pop } }
    same(found.map { |it| it.body.dup.force_encoding("UTF-8") }, 3.times.map { |n| "gr\u00fc\u00dfe #{n}" })
    same(found.map { |it| it.headers["kind"] }.uniq, [said])
    client.acknowledge(found.last)
    client.begin("t")
    client.publish(queue, "in it", { "transaction" => "t" })
    client.publish(queue, "in it too", { "transaction" => "t" })
    client.commit("t")
    same(2.times.map { soon { heard.pop } }.each { |it| client.acknowledge(it) }.map(&:body), ["in it", "in it too"])
    receipt = Queue.new
    client.publish(queue, "last") { |it| receipt << it }
    same(soon { receipt.pop }.command, "RECEIPT")
    client.acknowledge(soon { heard.pop })
    client.close
  end
end

# The stomp gem goes on when the server was killed and comes back.
def recovery
  require "stomp"
  client = Stomp::Client.new(
    hosts: [{ login: "guest", passcode: "guest", host: HOST, port: PORT }],
    connect_headers: { "accept-version" => "1.2", "host" => "/" },
    initial_reconnect_delay: 0.1, max_reconnect_delay: 0.1, logger: Stomp::NullLogger.new
  )
  heard = Queue.new
  client.subscribe("/queue/lasting", { "ack" => "client-individual", "id" => "1" }) { |it| heard << it }
  receipt = Queue.new
  client.publish("/queue/lasting", "before", { "persistent" => "true" }) { |it| receipt << it }
  soon { receipt.pop }
  same(soon { heard.pop }.body, "before") # which it does not acknowledge
  puts "ready"
  $stdout.flush
  $stdin.gets
  again = soon { heard.pop }
  same([again.body, again.headers["redelivered"]], ["before", "true"])
  client.acknowledge(again)
  client.publish("/queue/lasting", "after")
  same(soon { heard.pop }.body, "after")
end

send({ "rails cache" => :rails_cache, "redis" => :redis, "sidekiq" => :sidekiq, "stomp" => :stomp, "recovery" => :recovery }.fetch(ARGV[2]))
puts "done"
$stdout.flush
exit!(0) # whatever threads are left
