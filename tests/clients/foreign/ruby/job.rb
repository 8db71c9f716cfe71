# A job that fails once for the number 3.
require "sidekiq"

Sidekiq.configure_server { |config| config.options[:average_scheduled_poll_interval] = 1 }

class Job
  include Sidekiq::Worker
  sidekiq_options retry: 2
  sidekiq_retry_in { 1 }

  def perform(number)
    tries = Sidekiq.redis { |it| it.incr("tried:#{number}") }
    raise "not yet" if number == 3 && tries == 1

    Sidekiq.redis { |it| it.rpush("done", number) }
  end
end
