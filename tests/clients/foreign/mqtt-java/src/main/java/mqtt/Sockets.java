package mqtt;

import java.io.IOException;
import java.net.InetAddress;
import java.net.Socket;
import javax.net.SocketFactory;

/** Makes sockets, and remembers the last, so that it can be closed under a client. */
final class Sockets extends SocketFactory {
  private volatile Socket last;

  void drop() throws IOException {
    last.close();
  }

  @Override
  public Socket createSocket() {
    last = new Socket();
    return last;
  }

  @Override
  public Socket createSocket(String host, int port) throws IOException {
    last = new Socket(host, port);
    return last;
  }

  @Override
  public Socket createSocket(InetAddress host, int port) throws IOException {
    last = new Socket(host, port);
    return last;
  }

  @Override
  public Socket createSocket(String host, int port, InetAddress from, int local) {
    throw new UnsupportedOperationException();
  }

  @Override
  public Socket createSocket(InetAddress host, int port, InetAddress from, int local) {
    throw new UnsupportedOperationException();
  }
}
