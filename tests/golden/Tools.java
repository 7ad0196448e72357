// Kafka's own tools, one after another in one JVM: a start of a JVM for each would take minutes.
//
// In: milliseconds that it may take, its class and arguments, tabs between them; then a line with what
// it may read, '|' for the ends of lines. Out: how it ended, how many bytes its standard output and its
// standard error have, then both.
import java.io.*;
import java.lang.reflect.InvocationTargetException;
import java.net.MalformedURLException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.*;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.common.utils.Exit;
import org.slf4j.LoggerFactory;

public class Tools {
    static final AtomicReference<Integer> ended = new AtomicReference<>();

    /** What a call of exit does here: finally-blocks run. */
    static final class Ended extends Error {}

    static void end(int code) {
        if (ended.compareAndSet(null, code)) {
            // What the tool prints while it unwinds it would not have printed.
            print(new ByteArrayOutputStream(), new ByteArrayOutputStream());
        }
        throw new Ended();
    }

    static void print(OutputStream out, OutputStream err) {
        System.setOut(new PrintStream(out, true));
        System.setErr(new PrintStream(err, true));
    }

    /** Tools keep counts in static fields, so each run gets classes of its own. */
    static final class Fresh extends URLClassLoader {
        Fresh(URL jar) {
            super(new URL[] {jar}, Tools.class.getClassLoader());
        }

        @Override
        protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
            if (!name.startsWith("org.apache.kafka.tools.") || name.startsWith("org.apache.kafka.tools.api.")) {
                return super.loadClass(name, resolve);
            }
            Class<?> loaded = findLoadedClass(name);
            return loaded != null ? loaded : findClass(name);
        }
    }

    static URL jar() throws MalformedURLException {
        var paths = System.getProperty("java.class.path").split(File.pathSeparator);
        var jar = Arrays.stream(paths).filter(path -> path.contains("kafka-tools-4")).findFirst();
        return Path.of(jar.orElseThrow()).toUri().toURL();
    }

    /** What would run at the end of the JVM. */
    @SuppressWarnings("unchecked")
    static Map<Thread, Thread> hooks() throws ReflectiveOperationException {
        var field = Class.forName("java.lang.ApplicationShutdownHooks").getDeclaredField("hooks");
        field.setAccessible(true);
        return (Map<Thread, Thread>) field.get(null);
    }

    /** Whether threads that the tool has started would keep the JVM alive. */
    static boolean goesOn() {
        var threads = new Thread[1000];
        int count = Thread.currentThread().getThreadGroup().enumerate(threads);
        return Arrays.stream(threads, 0, count).anyMatch(thread -> !thread.isDaemon());
    }

    static void run(ClassLoader loader, String[] words, OutputStream out, OutputStream err) {
        try {
            var before = Set.copyOf(hooks().keySet());
            try {
                var main = loader.loadClass(words[1]).getMethod("main", String[].class);
                main.invoke(null, (Object) Arrays.copyOfRange(words, 2, words.length));
                while (ended.get() == null && goesOn()) Thread.sleep(10);
                ended.compareAndSet(null, 0);
            } catch (InvocationTargetException e) {
                if (ended.compareAndSet(null, 1)) {
                    System.err.print("Exception in thread \"main\" ");
                    e.getCause().printStackTrace();
                }
            }
            print(out, err);
            var added = new ArrayList<>(hooks().keySet());
            added.removeAll(before);
            hooks().keySet().removeAll(added);
            added.forEach(Thread::run);
        } catch (ReflectiveOperationException | InterruptedException e) {
            e.printStackTrace();
            ended.set(127);
        }
    }

    public static void main(String[] arguments) throws Exception {
        LoggerFactory.getLogger(Tools.class);
        Exit.setExitProcedure((code, message) -> end(code));
        Exit.setHaltProcedure((code, message) -> end(code));
        var jar = jar();
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var answers = System.out;
        for (String line; (line = lines.readLine()) != null; ) {
            var words = line.split("\t", -1);
            var input = lines.readLine().replace('|', '\n').getBytes(StandardCharsets.UTF_8);
            System.setIn(new ByteArrayInputStream(input));
            var out = new ByteArrayOutputStream();
            var err = new ByteArrayOutputStream();
            print(out, err);
            ended.set(null);
            var loader = new Fresh(jar);
            var group = new ThreadGroup("tool");
            var tool = new Thread(group, () -> run(loader, words, out, err));
            tool.setContextClassLoader(loader);
            tool.setDaemon(true);
            tool.start();
            tool.join(Long.parseLong(words[0]));
            var how = tool.isAlive() ? "running" : ended.get().toString();
            // One that goes on may print more meanwhile.
            byte[] said = out.toByteArray(), complained = err.toByteArray();
            answers.print(how + " " + said.length + " " + complained.length + "\n");
            answers.write(said);
            answers.write(complained);
            answers.flush();
        }
        // Threads that a tool has left behind are no reason to stay.
        Runtime.getRuntime().halt(0);
    }
}
